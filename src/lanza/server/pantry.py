"""Model folders for replicas: a repository's files at one commit, below `DATA/models/REPO/COMMIT/`.

The model: small files are written, large ones are hard links to the blobs, or copies where the store is
another file system or a bucket. All is made aside, brought to the disk, and then given its name by one
rename, so a folder that has its name is whole. The base of a PEFT adapter is put into a cache within the
adapter's own folder, because a replica sees no other, and under the name by which handlers load it. Folders
that no endpoint is at are removed after a while; a later wish makes them again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import or_, select

from lanza.endpoints.orders import Stock
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.errors import BadRequest, RepoNotFound
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName, check_path, parse_repo
from lanza.hub.objects import Commit, Entry
from lanza.hub.records import Repo
from lanza.hub.refs import MAIN
from lanza.hub.trees import LINK
from lanza.models.adapters import BROUGHT, cache_name

log: Final = logging.getLogger("lanza.server")

ADAPTER: Final = "adapter_config.json"
Bring = Callable[[RepoName], object]
"""Gets a model from the hub behind this one. RepoNotFound, UpstreamUnavailable."""


class FolderPantry:
    """`endpoints.orders.Pantry` over a Hub of our own. `bring` is called for bases that are not here."""

    def __init__(self, hub: Hub, folder: Path, *, bring: Bring | None = None) -> None:
        self._hub = hub
        self._folder = folder
        self._bring = bring

    async def fetch(self, repo_id: int, commit: str) -> Stock:
        return await asyncio.to_thread(self._fetch, repo_id, commit)

    def _fetch(self, repo_id: int, commit: str) -> Stock:
        target = self._folder / str(repo_id) / commit
        with self._hub.blobs.turn(f"models/{repo_id}/{commit}"):
            if not target.is_dir():
                self._make(repo_id, commit, target)
        return Stock(folder=target)

    def _make(self, repo_id: int, commit: str, target: Path) -> None:
        aside = self._folder / f".{secrets.token_hex(8)}"
        try:
            git = self._hub.git.open(repo_id)
            self._write(git, git.resolve(commit), aside)
            self._add_base(repo_id, aside)
            _sync_folders(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _write(self, git: GitRepo, commit: Commit, folder: Path) -> None:
        """All files of a commit but symbolic links, which could lead anywhere."""
        folder.mkdir(parents=True)
        for entry in git.entries(commit, recursive=True):
            if entry.kind != "file" or entry.mode == LINK:
                continue
            path = folder / check_path(entry.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._put(git, entry, path)

    def _put(self, git: GitRepo, entry: Entry, path: Path) -> None:
        if entry.lfs is None:
            _write(path, iter([git.read(entry.oid)]))
            return
        blob = self._hub.blobs.path(entry.lfs.sha256)
        if blob is None or not _link(blob, path):
            _write(path, self._hub.blobs.read(entry.lfs.sha256))

    # Adapters

    def _add_base(self, repo_id: int, folder: Path) -> None:
        """Put an adapter's base into its folder, as `huggingface_hub` keeps what it has downloaded."""
        config = _json_object(folder / ADAPTER)
        name = config.get("base_model_name_or_path")
        if not isinstance(name, str) or not name:
            return
        if (folder / name).is_dir() and not Path(name).is_absolute() and ".." not in Path(name).parts:
            return  # it came along
        cache = folder / BROUGHT
        if cache.exists():
            return  # the same, as a cache
        git = self._hub.git.open(self._base(repo_id, name).id)
        named = config.get("revision")
        revision = named if isinstance(named, str) and named else MAIN
        commit = git.resolve(revision)
        kept = cache / cache_name(name)
        self._write(git, commit, kept / "snapshots" / commit.oid)
        reference = kept / check_path(f"refs/{revision}")
        reference.parent.mkdir(parents=True)
        _write(reference, iter([commit.oid.encode()]))

    def _base(self, repo_id: int, name: str) -> Repo:
        """The base's repository: one that all may read, or one of the adapter's own namespace."""
        wanted = _repo_name(name)
        found = self._find(wanted)
        if found is None and self._bring is not None:
            self._bring(wanted)
            found = self._find(wanted)
        with self._hub.database.reading() as session:
            owner = session.scalar(select(Repo.owner_id).where(Repo.id == repo_id))
        if found is None or not (
            (found.visibility == "public" and not found.gated) or found.owner_id == owner
        ):
            raise RepoNotFound(
                f"the adapter's base {name} is not on this server, or not for everybody: push it here, under "
                "that name or into the adapter's own namespace and with that name in adapter_config.json."
            )
        return found

    def _find(self, name: RepoName) -> Repo | None:
        with self._hub.database.reading() as session:
            return session.scalar(select(Repo).where(Repo.kind == Kind.MODEL.value, Repo.key == name.key))

    # Tidying

    def tidy(self) -> None:
        """Remove the folders that no endpoint is at, and what an earlier run has left half-way."""
        if not self._folder.is_dir():
            return
        needed = self._needed()
        for path in self._folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob("*/*"):
            if (path.parent.name, path.name) not in needed:
                log.info("the model folder %s is needed no more", path)
                shutil.rmtree(path, ignore_errors=True)

    def _needed(self) -> Collection[tuple[str, str]]:
        """The folders of revisions that are wanted, that serve, or that a replica runs."""
        runs = select(Replica.revision).where(Replica.endpoint_id == Revision.endpoint_id)
        wanted = or_(
            Revision.number == Endpoint.revision,
            Revision.number == Endpoint.serving,
            Revision.number.in_(runs),
        )
        of = select(Revision.repo_id, Revision.commit).join(Endpoint, Endpoint.id == Revision.endpoint_id)
        with self._hub.database.reading() as session:
            return {(str(repo_id), commit) for repo_id, commit in session.execute(of.where(wanted))}


def _repo_name(name: str) -> RepoName:
    try:
        return parse_repo(Kind.MODEL, name)
    except BadRequest as error:
        raise RepoNotFound(
            f"the adapter's base is {name!r}, a folder on the machine where it was trained: write the name "
            "of a repository into base_model_name_or_path in adapter_config.json."
        ) from error


def _json_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _link(blob: Path, path: Path) -> bool:
    """Whether the file could be linked; it is then for nobody to write to, as it is the blob itself."""
    try:
        os.link(blob, path)
    except OSError:
        return False
    if os.name != "nt":  # where what is read-only cannot be removed either
        path.chmod(0o444)
    return True


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    with path.open("xb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        _sync(Path(parent))


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
