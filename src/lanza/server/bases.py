"""The models that adapters are put on: which one an adapter names, and at which commit it is here.

The model: `named` is what adapter_config.json says, if the base does not come along with the adapter. A base
may be given to an adapter when all may read it, or when it is in the adapter's own namespace. One that is not
here has no commit yet: `bring` gets it from the hub behind this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from sqlalchemy import select

from lanza.endpoints.repositories import Base
from lanza.errors import BadRequest, RepoNotFound, RevisionNotFound
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName, parse_repo
from lanza.hub.objects import Commit
from lanza.hub.records import Repo
from lanza.hub.refs import MAIN
from lanza.models.adapters import BROUGHT

ADAPTER: Final = "adapter_config.json"
MOST_CONFIG: Final = 2**20
Bring = Callable[[RepoName, str], object]
"""Gets a model at a revision from the hub behind this one. RepoNotFound, UpstreamUnavailable."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A base as its adapter names it."""

    name: str
    revision: str

    @property
    def repo(self) -> RepoName:
        """RepoNotFound when it is no repository's name."""
        try:
            return parse_repo(Kind.MODEL, self.name)
        except BadRequest as error:
            raise RepoNotFound(
                f"the adapter's base is {self.name!r}, a folder on the machine where it was trained: write "
                "the name of a repository into base_model_name_or_path in adapter_config.json."
            ) from error


def named(git: GitRepo, commit: Commit) -> Named | None:
    """What the adapter at this commit is put on; None when it is no adapter, or brings its base along."""
    config = _config(git, commit)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name or git.entry(commit, BROUGHT) is not None:
        return None
    path = PurePosixPath(name)
    if not path.is_absolute() and ".." not in path.parts and str(path) == name:
        beside = git.entry(commit, name)
        if beside is not None and beside.kind == "directory":
            return None
    return Named(name=name, revision=revision if isinstance(revision, str) and revision else MAIN)


def _config(git: GitRepo, commit: Commit) -> dict[str, Any]:
    entry = git.entry(commit, ADAPTER)
    if entry is None or entry.kind != "file" or entry.lfs is not None or entry.size > MOST_CONFIG:
        return {}
    try:
        found = json.loads(git.read(entry.oid))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Bases:
    """The bases of adapters in a Hub."""

    def __init__(self, hub: Hub, *, bring: Bring | None = None) -> None:
        self._hub = hub
        self._bring = bring

    def known(self, repo_id: int, base: Named) -> Base | None:
        """The base at the commit that it has now, if it is here and may be given to this adapter."""
        try:
            return self._pinned(self._allowed(repo_id, base, self._find(base.repo)), base)
        except (RepoNotFound, RevisionNotFound):
            return None  # what is wrong with it is said by who gets it

    def get(self, repo_id: int, base: Named) -> Base:
        """The same, brought here if need be. RepoNotFound, RevisionNotFound, UpstreamUnavailable."""
        found = self._find(base.repo)
        if found is None and self._bring is not None:
            brought = self._bring(base.repo, base.revision)
            found = self._find(base.repo)
            if brought:  # it has no other commit than the one that was brought
                return self._pinned(self._allowed(repo_id, base, found), base, at=MAIN)
        return self._pinned(self._allowed(repo_id, base, found), base)

    def _pinned(self, repo: Repo, base: Named, *, at: str | None = None) -> Base:
        commit = self._hub.git.open(repo.id).resolve(at or base.revision).oid
        return Base(repo_id=repo.id, name=base.name, revision=base.revision, commit=commit)

    def _find(self, name: RepoName) -> Repo | None:
        with self._hub.database.reading() as session:
            return session.scalar(select(Repo).where(Repo.kind == Kind.MODEL.value, Repo.key == name.key))

    def _allowed(self, repo_id: int, base: Named, found: Repo | None) -> Repo:
        with self._hub.database.reading() as session:
            owner = session.scalar(select(Repo.owner_id).where(Repo.id == repo_id))
        if found is None or not (
            (found.visibility == "public" and not found.gated) or found.owner_id == owner
        ):
            raise RepoNotFound(
                f"the adapter's base {base.name} is not on this server, or not for everybody: push it here, "
                "under that name or into its own namespace, with that name in its adapter_config.json."
            )
        return found
