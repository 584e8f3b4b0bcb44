"""Tokens: issued once, kept as hashes, and turned into principals for every request that shows one.

The model: a token is 40 random letters and digits behind `lz_`, so its SHA-256 needs no salt. It has a name
that is unique for its user, a role, perhaps grants and an expiry, and it never does more than its user may.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
import secrets
import string
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NoReturn

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from lanza.auth import grants as grant_forms
from lanza.auth.accounts import memberships
from lanza.auth.principal import ANONYMOUS, Grant, Principal, Role
from lanza.auth.records import Account, Token
from lanza.database import Database, now
from lanza.errors import BadRequest, Conflict, NotFound, Unauthorized

log = logging.getLogger("lanza.auth")

PREFIX: Final = "lz_"
LENGTH: Final = 40
LONGEST_NAME: Final = 96

CACHE_SECONDS: Final = 5.0
CACHE_MOST: Final = 4096
BELIEVED: Final = 300.0
"""Seconds for which a token that was good is believed while the database does not answer."""
ASK_AGAIN: Final = 1.0
"""Seconds until a database that did not answer is asked again about a token that is believed."""
USED_EVERY: Final = timedelta(minutes=1)
NOTE_WITHIN: Final = 0.1
"""Seconds that a request spends on having its token's last use noted, while others write."""

_LETTERS: Final = string.ascii_letters + string.digits
_TOKEN: Final = re.compile(rf"{PREFIX}[A-Za-z0-9]{{{LENGTH}}}")


def issue(
    session: Session,
    account: Account,
    *,
    name: str,
    role: Role,
    grants: Sequence[Grant] = (),
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """A new token and its value, which is shown now and never again. Conflict, BadRequest."""
    _check(account, name, role, grants, expires_at)
    value = PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))
    token = Token(
        account_id=account.id,
        name=name,
        hash=_hash(value),
        hint=value[-4:],
        role=role.value,
        grants=grant_forms.kept(grants),
        created_at=now(),
        expires_at=expires_at,
    )
    try:
        with session.begin_nested():
            session.add(token)
    except IntegrityError as error:
        raise Conflict(
            f"{account.name} has a token {name!r} already: revoke that one, or choose another name."
        ) from error
    return token, value


def find(session: Session, account: Account, name: str) -> Token | None:
    return session.scalar(select(Token).where(Token.account_id == account.id, Token.name == name))


def revoke(session: Session, account: Account, name: str) -> None:
    """Make a token worthless. NotFound.

    Other servers that have just seen it believe it for up to `CACHE_SECONDS` more.
    """
    token = find(session, account, name)
    if token is None:
        raise NotFound(f"{account.name} has no token {name!r}: `lanza tokens ls` shows those that are there.")
    session.delete(token)
    session.flush()


def all_of(session: Session, account: Account) -> list[Token]:
    """The tokens of an account, the oldest first."""
    return list(session.scalars(select(Token).where(Token.account_id == account.id).order_by(Token.id)))


class Authenticator:
    """Says who shows a token. Good answers are kept for `CACHE_SECONDS`, so that most cost no query.

    While the database does not answer they are believed for `BELIEVED` seconds: nothing can be revoked in it
    meanwhile, and endpoints go on answering. A token that is not known then is a matter for later (503).
    `clock` gives seconds. May be used by many threads at once.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._forgotten = 0

    def principal(self, authorization: str | None) -> Principal:
        """Who sends this `Authorization` header; `ANONYMOUS` without one. Unauthorized for a wrong one."""
        if authorization is None:
            return ANONYMOUS
        value = _value(authorization)
        if not _TOKEN.fullmatch(value):
            _refuse("this is no token of this server")
        key = _key(value)
        return self._cached(key) or self._asked(key, _hash(value))

    def known(self, authorization: str) -> Principal | None:
        """The same without asking anybody: None for what was not asked within `CACHE_SECONDS`."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        return self._cached(_key(value.strip()))

    def remembered(self, authorization: str) -> Principal | None:
        """Whose it was when the database was asked last, for when it takes long to answer."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        known = self._believed(_key(value.strip()))
        return None if known is None else known.principal

    def forget(self) -> None:
        """Ask the database again from now on: tokens, accounts or memberships have changed."""
        with self._lock:
            self._known.clear()
            self._forgotten += 1

    def _cached(self, key: bytes) -> Principal | None:
        with self._lock:
            known = self._known.get(key)
            if known is None or self._clock() >= known.until or known.expired:
                return None
            return known.principal

    def _believed(self, key: bytes) -> _Known | None:
        with self._lock:
            known = self._known.get(key)
            if known is None or known.expired or self._clock() - known.asked >= BELIEVED:
                return None
            return known

    def _asked(self, key: bytes, digest: str) -> Principal:
        forgotten = self._forgotten
        try:
            return self._looked_up(key, digest)
        except Unauthorized:
            with self._lock:
                self._known.pop(key, None)
            raise
        except SQLAlchemyError as error:
            known = self._believed(key)
            if known is None:
                raise
            log.warning("the database does not answer, so a token is believed: %s", error)
            self._keep(key, replace(known, until=self._clock() + ASK_AGAIN), forgotten)
            return known.principal

    def _looked_up(self, key: bytes, digest: str) -> Principal:
        asked, forgotten = self._clock(), self._forgotten
        with self._database.reading() as session:
            token, account = _found(session, digest)
            principal = _principal(session, token, account)
        known = _Known(
            principal=principal, asked=asked, until=asked + CACHE_SECONDS, expires_at=token.expires_at
        )
        self._keep(key, known, forgotten)
        if token.last_used_at is None or now() - token.last_used_at >= USED_EVERY:
            self._note_use(token.id)
        return principal

    def _keep(self, key: bytes, known: _Known, forgotten: int) -> None:
        with self._lock:
            if forgotten != self._forgotten:
                return  # what was read may be what was to be forgotten
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > CACHE_MOST:
                self._known.popitem(last=False)

    def _note_use(self, token_id: int) -> None:
        """Nobody is kept out because this could not be written: on a full disk, reading goes on.

        Nor is anybody kept waiting, when the database is locked.
        """
        used = now()
        old = or_(Token.last_used_at.is_(None), Token.last_used_at <= used - USED_EVERY)
        try:
            with self._database.writing(patience=NOTE_WITHIN) as session:
                session.execute(update(Token).where(Token.id == token_id, old).values(last_used_at=used))
        except OperationalError as error:
            log.warning("the last use of a token was not noted: %s", error.orig)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    principal: Principal
    asked: float
    until: float
    expires_at: datetime | None

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()


def _found(session: Session, digest: str) -> tuple[Token, Account]:
    joined = select(Token, Account).join(Account, Account.id == Token.account_id)
    found = session.execute(joined.where(Token.hash == digest)).one_or_none()
    # The index compares hashes, and how long that takes tells nothing of tokens; this is for certain.
    if found is None or not hmac.compare_digest(found[0].hash, digest):
        _refuse("this token is unknown, or it was revoked")
    token, account = found
    if token.expires_at is not None and token.expires_at <= now():
        _refuse(f"this token expired on {token.expires_at:%Y-%m-%d}")
    return token, account


def _principal(session: Session, token: Token, account: Account) -> Principal:
    return Principal(
        account_id=account.id,
        name=account.name,
        role=Role(token.role),
        token_name=token.name,
        grants=grant_forms.restored(token.grants),
        memberships=memberships(session, account),
        admin=account.admin,
    )


def _check(
    account: Account, name: str, role: Role, grants: Sequence[Grant], expires_at: datetime | None
) -> None:
    if account.kind != "user":
        raise BadRequest(f"{account.name} is an organization: tokens belong to its members.")
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or "/" in name:
        raise BadRequest(f"a token's name is one line of 1 to {LONGEST_NAME} characters, without '/'.")
    if role is Role.ADMIN and not account.admin:
        raise BadRequest(f"{account.name} is no administrator of this server: choose the role write.")
    if bool(grants) != (role is Role.FINE_GRAINED):
        raise BadRequest("a token of role fine-grained needs grants, and others take none.")
    if len(grants) > grant_forms.MOST:
        raise BadRequest(f"a token has at most {grant_forms.MOST} grants: give a whole namespace instead.")
    if expires_at is not None and expires_at <= now():
        raise BadRequest("a token cannot expire in the past: choose a later moment.")


def _value(authorization: str) -> str:
    """The token in the header: what follows Bearer; of Basic the password, or a name that stands alone."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        _refuse("send a token as Bearer, or as the password of Basic")
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        _refuse("what follows Basic cannot be read")
    return password or user


def _refuse(reason: str) -> NoReturn:
    # Clients look for these first words.
    raise Unauthorized(
        f"Invalid credentials in Authorization header: {reason}. Log in again, with `hf auth login` or "
        "`lanza login`."
    )


def _key(value: str) -> bytes:
    """What a token is remembered by. Not its SHA-256, for every request pays for this: that one is OpenSSL's,
    and beside a model that has the caches it was a twelfth of all that the gateway did.
    """
    return hashlib.blake2b(value.encode(), digest_size=32).digest()


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
