"""OAuth's device flow (RFC 8628): a program without a browser gets a token that a user allows elsewhere.

The model: a program asks for two codes and keeps the long one to itself. The user types the short one into a
page of this server, with name and password, and allows or denies. Meanwhile the program asks again and again,
and once it was allowed it gets a token, one time. Codes are short-lived, and only a hash of the long one is
kept.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lanza.auth import tokens
from lanza.auth.principal import Role
from lanza.auth.records import Account, DeviceCode
from lanza.database import now
from lanza.errors import NotFound, Overloaded

LIFETIME: Final = timedelta(minutes=15)
INTERVAL: Final = timedelta(seconds=5)
"""How long a program is to wait between two questions."""

EARLY: Final = timedelta(seconds=1)
"""How much too early a question may be: clocks and networks are not exact."""

TOKEN_LIFETIME: Final = timedelta(days=90)
MOST_WAITING: Final = 1000

# No vowels, so that codes spell nothing; nothing that looks like something else.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"


class Answer(StrEnum):
    """Why there is no token, in OAuth's words."""

    PENDING = "authorization_pending"
    SLOW_DOWN = "slow_down"
    EXPIRED = "expired_token"
    DENIED = "access_denied"


@dataclass(frozen=True, kw_only=True)
class Codes:
    """What the program gets: `device_code` to keep, `user_code` to show."""

    device_code: str
    user_code: str


@dataclass(frozen=True, kw_only=True)
class Issued:
    """The token at the end, and how long it is good."""

    token: str
    seconds: int


def start(session: Session) -> Codes:
    """Two new codes. Overloaded when too many logins wait already."""
    session.execute(delete(DeviceCode).where(DeviceCode.expires_at <= now()))
    if (session.scalar(select(func.count()).select_from(DeviceCode)) or 0) >= MOST_WAITING:
        raise Overloaded("too many logins wait to be allowed: try again in some minutes.", retry_after=60)
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    codes = Codes(device_code=secrets.token_urlsafe(32), user_code=f"{letters[:4]}-{letters[4:]}")
    session.add(
        DeviceCode(
            hash=_hash(codes.device_code),
            user_code=codes.user_code,
            status="pending",
            expires_at=now() + LIFETIME,
        )
    )
    session.flush()
    return codes


def allow(session: Session, user_code: str, account: Account) -> None:
    """Let the program that shows `user_code` be `account`. NotFound."""
    waiting = _waiting(session, user_code)
    waiting.account_id, waiting.status = account.id, "allowed"


def deny(session: Session, user_code: str) -> None:
    """Tell the program that shows `user_code` that it may not. NotFound."""
    _waiting(session, user_code).status = "denied"


def redeem(session: Session, device_code: str) -> Issued | Answer:
    """The token, once the user has allowed it; what was redeemed is worthless afterwards."""
    # Locked, so that of two questions at once one gets the token. SQLite has one writer anyway.
    mine = select(DeviceCode).where(DeviceCode.hash == _hash(device_code)).with_for_update()
    asked = session.scalar(mine)
    if asked is None or asked.expires_at <= now():
        return Answer.EXPIRED
    if asked.status == "denied":
        session.delete(asked)
        return Answer.DENIED
    account = None if asked.account_id is None else session.get(Account, asked.account_id)
    if account is None:
        early = asked.asked_at is not None and now() - asked.asked_at < INTERVAL - EARLY
        asked.asked_at = now()
        return Answer.SLOW_DOWN if early else Answer.PENDING
    session.delete(asked)
    name = f"login-{now():%Y-%m-%d}-{secrets.token_hex(3)}"
    _, value = tokens.issue(session, account, name=name, role=Role.WRITE, expires_at=now() + TOKEN_LIFETIME)
    return Issued(token=value, seconds=round(TOKEN_LIFETIME.total_seconds()))


def as_shown(user_code: str) -> str:
    """A user's code as it is shown, however it was typed."""
    letters = "".join(letter for letter in user_code.upper() if letter in _LETTERS)[:8]
    return f"{letters[:4]}-{letters[4:]}"


def _waiting(session: Session, user_code: str) -> DeviceCode:
    of_code = select(DeviceCode).where(DeviceCode.user_code == as_shown(user_code)).with_for_update()
    found = session.scalar(of_code)
    if found is None or found.status != "pending" or found.expires_at <= now():
        raise NotFound("no login waits for this code: check it, or start again where you want to log in.")
    return found


def _hash(device_code: str) -> str:
    return hashlib.sha256(device_code.encode()).hexdigest()
