"""Accounts: users, organizations, and who belongs to which.

The model: an account is a namespace. A user may log in and have tokens; an organization has members. Names
differ by more than case. Functions work within the caller's session, and none commits. A removed account
takes its tokens, memberships and repositories' records along; the database sees to it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lanza.auth.names import check_namespace
from lanza.auth.passwords import hash_password, is_password
from lanza.auth.records import Account, Membership
from lanza.database import now
from lanza.errors import BadRequest, Conflict, NotFound, Unauthorized

ROLES: Final = ("read", "write", "admin")
"""What a member of an organization may be."""

LONGEST_TEXT: Final = 254


def create_user(
    session: Session,
    name: str,
    *,
    password: str | None = None,
    admin: bool = False,
    email: str | None = None,
    full_name: str = "",
) -> Account:
    """A new user. Without a password they can use tokens, and cannot log in. Conflict, BadRequest."""
    return _add(
        session,
        name,
        kind="user",
        password_hash=None if password is None else hash_password(password),
        admin=admin,
        email=_checked("email", email),
        full_name=_checked("full name", full_name) or "",
    )


def create_org(session: Session, name: str, *, owner: Account, full_name: str = "") -> Account:
    """A new organization, with `owner` as its first administrator. Conflict, BadRequest."""
    org = _add(session, name, kind="org", full_name=_checked("full name", full_name) or "")
    set_member(session, org, owner, "admin")
    return org


def find(session: Session, name: str) -> Account | None:
    """The user or organization called `name`, in whatever case."""
    return session.scalar(select(Account).where(Account.key == name.lower()))


def get(session: Session, name: str, kind: str | None = None) -> Account:
    """The account called `name`, "user" or "org" if that is asked for. NotFound."""
    account = find(session, name)
    if account is None or kind not in (None, account.kind):
        raise NotFound(f"there is no {_WORDS[kind]} {name!r} here: check the name.")
    return account


def remove(session: Session, name: str) -> None:
    """Remove an account with all that is its own. NotFound; Conflict for the last administrator."""
    account = get(session, name)
    if account.admin:
        _keep_one_admin(session)
    session.delete(account)
    session.flush()


def set_admin(session: Session, account: Account, admin: bool) -> None:
    """Make a user an administrator of this server, or no longer. Conflict for the last one."""
    if account.kind != "user":
        raise BadRequest(f"{account.name} is no user, and cannot administer the server.")
    if account.admin and not admin:
        _keep_one_admin(session)
    account.admin = admin
    session.flush()


def set_password(account: Account, password: str) -> None:
    """A new password. The tokens of the account stay good."""
    if account.kind != "user":
        raise BadRequest(f"{account.name} is no user, and has no password.")
    account.password_hash = hash_password(password)


def set_member(session: Session, org: Account, user: Account, role: str | None) -> None:
    """Make `user` a member of `org` with this role, or with None no member."""
    if org.kind != "org" or user.kind != "user":
        raise BadRequest(f"only users are members of organizations: not {user.name} of {org.name}.")
    if role is not None and role not in ROLES:
        raise BadRequest(f"a member's role is one of {', '.join(ROLES)}, and not {role!r}.")
    found = session.get(Membership, (org.id, user.id))
    if role is None:
        if found is not None:
            session.delete(found)
    elif found is None:
        session.add(Membership(org_id=org.id, user_id=user.id, role=role))
    else:
        found.role = role
    session.flush()


def check_login(session: Session, name: str, password: str) -> Account:
    """The user whose password this is. Unauthorized, after the same work for every wrong pair."""
    account = find(session, name)
    kept = None if account is None else account.password_hash
    if not is_password(password, kept) or account is None:
        raise Unauthorized("the user name or the password is wrong.")
    return account


def memberships(session: Session, account: Account) -> dict[str, str]:
    """The namespaces where `account` may do something, in lower case, and its role in each."""
    return {account.key: "admin", **{org.key: role for org, role in orgs_of(session, account)}}


def orgs_of(session: Session, account: Account) -> list[tuple[Account, str]]:
    """The organizations that `account` belongs to, and its role in each."""
    joined = select(Account, Membership.role).join(Membership, Membership.org_id == Account.id)
    rows = session.execute(joined.where(Membership.user_id == account.id).order_by(Account.key))
    return [(org, role) for org, role in rows]


def members_of(session: Session, org: Account) -> list[tuple[Account, str]]:
    """The members of `org`, and the role of each."""
    joined = select(Account, Membership.role).join(Membership, Membership.user_id == Account.id)
    rows = session.execute(joined.where(Membership.org_id == org.id).order_by(Account.key))
    return [(user, role) for user, role in rows]


def all_accounts(session: Session) -> list[Account]:
    return list(session.scalars(select(Account).order_by(Account.key)))


_WORDS: Final = {None: "user or organization", "user": "user", "org": "organization"}


def _add(
    session: Session,
    name: str,
    *,
    kind: str,
    password_hash: str | None = None,
    admin: bool = False,
    email: str | None = None,
    full_name: str = "",
) -> Account:
    account = Account(
        key=check_namespace(name).lower(),
        name=name,
        kind=kind,
        full_name=full_name,
        email=email,
        password_hash=password_hash,
        admin=admin,
        created_at=now(),
    )
    try:
        with session.begin_nested():
            session.add(account)
    except IntegrityError as error:
        raise Conflict(f"the name {name!r} is taken: choose another.") from error
    return account


def _keep_one_admin(session: Session) -> None:
    admins = session.scalar(select(func.count()).select_from(Account).where(Account.admin))
    if admins == 1:
        raise Conflict("this is the last administrator: make somebody else one first.")


def _checked(what: str, text: str | None) -> str | None:
    if text and (len(text) > LONGEST_TEXT or not text.isprintable()):
        raise BadRequest(f"the {what} is one line of at most {LONGEST_TEXT} characters.")
    return text
