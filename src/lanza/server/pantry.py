"""Model folders for replicas: a repository's files at one commit, below `DATA/models/REPO/COMMIT/`, and
with its base for an adapter, below `DATA/models/REPO/COMMIT-BASE/`.

The model: small files are written, large ones are hard links to the blobs, or copies where the store is
another file system or a bucket. All is made aside, brought to the disk, and then given its name by one
rename, so a folder that has its name is whole. The base of a PEFT adapter is put into a cache within the
adapter's own folder, because a replica sees no other, and under the name by which handlers load it. Folders
that no endpoint is at are removed after a while; a later wish makes them again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from lanza.endpoints.orders import Stock
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.repositories import Base
from lanza.endpoints.store import base_of
from lanza.errors import RepoNotFound, RevisionNotFound
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import check_path
from lanza.hub.objects import Commit, Entry
from lanza.hub.trees import LINK
from lanza.models.adapters import BROUGHT, cache_name
from lanza.server.bases import Bases, Bring, named

log: Final = logging.getLogger("lanza.server")

LEFTOVER_SECONDS: Final = 24 * 3600
"""A folder aside that has not changed for so long is nobody's any more."""


class FolderPantry:
    """`endpoints.orders.Pantry` over a Hub of our own. `bring` is called for bases that are not here."""

    def __init__(self, hub: Hub, folder: Path, *, bring: Bring | None = None) -> None:
        self._hub = hub
        self._folder = folder
        self._bases = Bases(hub, bring=bring)

    async def fetch(self, repo_id: int, commit: str, base: Base | None) -> Stock:
        return await asyncio.to_thread(self._fetch, repo_id, commit, base)

    def _fetch(self, repo_id: int, commit: str, base: Base | None) -> Stock:
        base = base or self._base(repo_id, commit)
        target = self._folder / str(repo_id) / _called(commit, base)
        with self._hub.blobs.turn(f"models/{repo_id}/{target.name}"):
            if not target.is_dir():
                self._make(repo_id, commit, base, target)
        return Stock(folder=target, base=base)

    def _base(self, repo_id: int, commit: str) -> Base | None:
        git = self._hub.git.open(repo_id)
        found = named(git, git.resolve(commit))
        return None if found is None else self._bases.get(repo_id, found)

    def _make(self, repo_id: int, commit: str, base: Base | None, target: Path) -> None:
        aside = self._folder / f".{secrets.token_hex(8)}"
        try:
            git = self._hub.git.open(repo_id)
            self._write(git, git.resolve(commit), aside)
            if base is not None:
                self._add_base(base, aside)
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

    def _add_base(self, base: Base, folder: Path) -> None:
        """Put an adapter's base into its folder, as `huggingface_hub` keeps what it has downloaded."""
        try:
            git = self._hub.git.open(base.repo_id)
            commit = git.resolve(base.commit)
        except (RepoNotFound, RevisionNotFound) as error:
            raise RepoNotFound(
                f"the adapter's base {base.name} is here no more as it was, at {base.commit[:12]}: push it "
                "again, or update the endpoint to take it as it is now."
            ) from error
        kept = folder / BROUGHT / cache_name(base.name)
        self._write(git, commit, kept / "snapshots" / commit.oid)
        reference = kept / check_path(f"refs/{base.revision}")
        reference.parent.mkdir(parents=True)
        _write(reference, iter([commit.oid.encode()]))

    # Tidying

    def tidy(self) -> None:
        """Remove the folders that no endpoint is at, and what an earlier run has left half-way.

        What is being made just now stays, and so does the folder of a revision that comes meanwhile.
        """
        if not self._folder.is_dir():
            return
        oldest = time.time() - LEFTOVER_SECONDS
        for path in self._folder.glob(".*"):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
        with self._hub.database.reading() as session:
            needed = _needed(session)
        for path in self._folder.glob("*/*"):
            if (path.parent.name, path.name) not in needed:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """Unless it is needed by now. SQLite has one writer, so no look of the loop comes in between."""
        aside = self._folder / f".{secrets.token_hex(8)}"
        with self._hub.database.writing() as session:
            if (path.parent.name, path.name) in _needed(session):
                return
            path.rename(aside)
        log.info("the model folder %s is needed no more", path)
        shutil.rmtree(aside, ignore_errors=True)


def _needed(session: Session) -> Collection[tuple[str, str]]:
    """The folders of revisions that are wanted, that serve, or that a replica runs."""
    runs = select(Replica.revision).where(Replica.endpoint_id == Revision.endpoint_id)
    wanted = or_(
        Revision.number == Endpoint.revision,
        Revision.number == Endpoint.serving,
        Revision.number.in_(runs),
    )
    of = select(Revision).join(Endpoint, Endpoint.id == Revision.endpoint_id).where(wanted)
    return {(str(it.repo_id), _called(it.commit, base_of(it))) for it in session.scalars(of)}


def _called(commit: str, base: Base | None) -> str:
    """The folder of a commit: of the same adapter there are several when its base has moved."""
    return commit if base is None else f"{commit}-{base.commit}"


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
