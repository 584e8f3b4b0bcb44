"""Which names are known here, and so are never told to another hub."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lanza.auth.names import RESERVED
from lanza.auth.records import Account
from lanza.hub.names import RepoName
from lanza.hub.records import HubState, Redirect, Repo

_MIRROR: Final = "mirror/"


def is_ours(session: Session, name: RepoName) -> bool:
    """Whether a name is to stay here: its namespace is known, or a repository is or was called so.

    A namespace that was made for imports is no secret. A name without a namespace stays here when any
    repository bears it: somebody may only have forgotten to write the namespace.
    """
    if not name.namespace:
        return _exists(session, func.lower(Repo.name) == name.name.lower())
    namespace = name.namespace.lower()
    if namespace in RESERVED or _exists(session, Repo.key == name.key):
        return True
    if session.scalar(select(Redirect.key).where(Redirect.key == name.key).limit(1)) is not None:
        return True
    known = session.scalar(select(Account.id).where(Account.key == namespace)) is not None
    return known and session.get(HubState, _MIRROR + namespace) is None


def note_mirror(session: Session, namespace: str, url: str) -> None:
    """Note that this namespace is here only for what is imported from `url`."""
    session.merge(HubState(name=_MIRROR + namespace.lower(), value=url))


def _exists(session: Session, condition: object) -> bool:
    return session.scalar(select(Repo.id).where(condition).limit(1)) is not None  # type: ignore[arg-type]
