"""People and repositories in a database, without files: enough for what asks the database alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from databases import new_database
from lanza.auth.principal import Grant, Principal, Role, Scope
from lanza.auth.records import Account
from lanza.database import Database
from lanza.hub.names import Kind, RepoName
from lanza.hub.postings import note, terms_of
from lanza.hub.records import Repo, RepoTag

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def database(folder: Path) -> Database:
    return new_database(folder)


def account(session: Session, name: str, *, kind: str = "user", quota_bytes: int | None = None) -> Account:
    made = Account(key=name.lower(), name=name, kind=kind, quota_bytes=quota_bytes, created_at=FIRST)
    session.add(made)
    session.flush()
    return made


def principal(
    account: Account, *, role: Role = Role.WRITE, admin: bool = False, **memberships: str
) -> Principal:
    """Who calls with a token of this role; `memberships` are roles in organizations."""
    return Principal(
        account_id=account.id,
        name=account.name,
        role=role,
        token_name="test",
        memberships={account.key: "admin", **memberships},
        admin=admin,
    )


def fine_grained(account: Account, entity: str, *scopes: Scope, **memberships: str) -> Principal:
    """Who calls with a token that is good for `scopes` in one namespace or repository."""
    return Principal(
        account_id=account.id,
        name=account.name,
        role=Role.FINE_GRAINED,
        token_name="fine",
        grants=(Grant(entity=entity, scopes=frozenset(scopes)),),
        memberships={account.key: "admin", **memberships},
    )


def model(repo_id: str, kind: Kind = Kind.MODEL) -> RepoName:
    namespace, _, name = repo_id.rpartition("/")
    return RepoName(kind, namespace, name)


def repo(session: Session, name: str, *tags: str, kind: str = "model", age: int = 0, **fields: Any) -> Repo:
    """A repository of an account that is there; changed `age` days after the first day."""
    namespace, _, rest = name.partition("/")
    owner = session.scalars(select(Account).where(Account.key == namespace.lower())).one()
    moment = FIRST + timedelta(days=age)
    values: dict[str, Any] = {"visibility": "public", "created_at": moment, "updated_at": moment, **fields}
    made = Repo(kind=kind, key=name.lower(), namespace=owner.name, name=rest, owner_id=owner.id, **values)
    session.add(made)
    session.flush()
    session.add_all(RepoTag(repo_id=made.id, tag=tag) for tag in tags)
    note(session, made, frozenset(), terms_of(made, tags))
    return made
