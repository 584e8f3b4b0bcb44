"""What endpoints need to know of repositories: which commit is meant, and what the model is.

`endpoints` knows no hub. Whoever has one (the server) implements `Repositories` over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lanza.auth.principal import Principal


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an adapter is put on, at one commit: `name` and `revision` are as the adapter has them."""

    repo_id: int
    name: str
    revision: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """A repository at one commit. `needs_bytes` is an estimate of the memory that serving it takes, or 0.

    `base` is that of an adapter which does not bring it along, if it is here already. `uncounted` says what
    `needs_bytes` leaves out.
    """

    repo_id: int
    name: str
    commit: str
    task: str | None = None
    needs_bytes: int = 0
    base: Base | None = None
    uncounted: str = ""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A model that could be deployed."""

    repo_id: int
    name: str
    task: str
    license: str
    created_at: datetime
    needs_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Search:
    """What of them is wanted; None is everything."""

    task: str | None = None
    license: str | None = None
    words: str | None = None
    limit: int | None = None


class Repositories(Protocol):
    """Called on threads, as it asks databases and other hubs."""

    def resolve(self, caller: Principal, repository: str, revision: str | None) -> Found:
        """What `namespace/name` is at a branch, tag or commit; None is its main branch.

        RepoNotFound when there is none that the caller may read, RevisionNotFound, Gated.
        """
        ...

    def listed(self, caller: Principal, search: Search) -> Sequence[Listed]:
        """The models of this server that the caller may see and that could be served."""
        ...

    def name_of(self, caller: Principal, repo_id: int) -> str:
        """RepoNotFound."""
        ...
