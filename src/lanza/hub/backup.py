"""Copies of all that a server keeps, made while it runs, and a data folder made of a copy.

    blobs/      large files by their hash, shared by all backups to this folder
    records/    the rest as it was at one moment: database, git repositories, keys; backup.json seals it

The model: first everything is copied as it is. Then, with nobody writing to the database, it is copied once
more, and those repositories that have moved since: whatever git names then, the database knows. Last come
the blobs of that moment. What a hash names is compared with its hash on the way, in both directions. The
new records take the place of the old ones in one step, so that a backup that breaks off leaves the one
before it.

Records are copied from PostgreSQL as from SQLite (`dump.py`), large files from a bucket as from a folder; a
backup may be restored to either. Uploads on their way are not copied, so a restored server tells clients of
Xet to begin anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import RepositoryOpenFlag
from sqlalchemy import delete
from sqlalchemy.orm import Session

from lanza.database import Database, now
from lanza.errors import BadRequest, NotFound, Unavailable, UsageError
from lanza.hub import dump
from lanza.hub.bare import making, replicate
from lanza.hub.blobs import BLOBS, BlobStore
from lanza.hub.git import GitStore
from lanza.hub.hub import Hub
from lanza.hub.records import HubState, Multipart, Xorb
from lanza.hub.refs import BRANCH, MAIN, writing
from lanza.hub.xet.store import STORE

FORMAT: Final = 1
DATABASE: Final = "lanza.db"
KEYS: Final = ("secret.key", "admin.token")
GIT: Final = "git"
RECORDS: Final = "records"
SEAL: Final = "backup.json"

_NEW: Final = "records.new"
_OLD: Final = "records.old"
_SCRATCH: Final = "scratch"

AT_ONCE: Final = 4
"""Blobs that are copied at the same time."""

Copied = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was copied. `problems` names what is damaged or missing, each in a line."""

    repositories: int
    blobs: int
    bytes: int
    problems: tuple[str, ...] = ()


def backup(hub: Hub, data: Path, target: Path, *, copied: Copied = lambda size: None) -> Report:
    """Copy `hub`, and the keys in its data folder, to `target`: an empty folder or an earlier backup.

    `copied` is told the size of each blob that was copied. UsageError when a folder is not what it should be.
    """
    _check_apart(data, target)
    with _held(target):
        _settle(target)
        new = target / _NEW
        shutil.rmtree(new, ignore_errors=True)
        (new / GIT).mkdir(parents=True)
        copies = _Repositories(hub.git, GitStore(new / GIT))
        copies.copy_all()
        blobs = _Blobs(hub.blobs, BlobStore.open(str(target), new / _SCRATCH), copied)
        blobs.copy_all()
        with dump.held(hub.database) as write:
            write(new / DATABASE)
            copies.copy_moved(_repo_ids(new / DATABASE))
        blobs.copy_all()
        for name in KEYS:
            if (data / name).is_file():
                shutil.copy(data / name, new / name)
        wanted = _blobs_of(new / DATABASE)
        problems = (*copies.problems(), *blobs.problems(wanted))
        report = Report(
            repositories=len(copies.ids), blobs=len(wanted), bytes=sum(wanted.values()), problems=problems
        )
        shutil.rmtree(new / _SCRATCH)
        _seal(new, report)
        _replace(target)
        blobs.keep_only(wanted)
        return report


def restore(
    target: Path,
    data: Path,
    *,
    database: Database | None = None,
    storage: str | None = None,
    copied: Copied = lambda size: None,
    forget: Callable[[Session], None] = lambda session: None,
) -> Report:
    """Make the data folder `data`, which must not exist or be empty, of the backup in `target`.

    The records go into `database`, which must have none, and large files to `storage`, or else both into the
    folder. It appears whole. `forget` removes other records of what was under way. UsageError when there is
    no whole backup, or something is there already.
    """
    records = target / RECORDS if (target / RECORDS / SEAL).is_file() else target / _OLD
    _check_seal(records)
    _check_apart(data, target)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise UsageError(f"{data} is not empty: move it away, or name a new folder.")
    if database is not None:
        dump.check_empty(database)
    building = data.with_name(f"{data.name}.restoring")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(records, building, ignore=shutil.ignore_patterns(SEAL))
    building.chmod(0o700)
    saved = BlobStore.open(str(target), building / _SCRATCH)
    blobs = _Blobs(saved, BlobStore.open(storage or str(building), building / _SCRATCH), copied)
    blobs.copy_all()
    wanted = _blobs_of(building / DATABASE)
    ids = _repo_ids(building / DATABASE)
    problems = (*_broken(GitStore(building / GIT), ids), *blobs.problems(wanted))
    _begin_anew(building / DATABASE, forget)
    shutil.rmtree(building / _SCRATCH)
    if database is not None:
        dump.load(building / DATABASE, database)
        (building / DATABASE).unlink()
    _sync()
    if data.exists():
        data.rmdir()
    building.rename(data)
    return Report(repositories=len(ids), blobs=len(wanted), bytes=sum(wanted.values()), problems=problems)


class _Repositories:
    """Repositories of one place, copied to another."""

    def __init__(self, source: GitStore, target: GitStore) -> None:
        self._source = source
        self._target = target
        self._states: dict[int, dict[str, tuple[int, int]]] = {}
        self.ids: list[int] = []

    def copy_all(self) -> None:
        for path in sorted(self._source.root.glob("*/*.git")):
            if path.stem.isdigit():
                self._copy(int(path.stem))

    def copy_moved(self, ids: list[int]) -> None:
        """Copy those whose refs have changed since, or that are new. Others than `ids` are gone by now."""
        for gone in self._states.keys() - set(ids):
            self._target.remove(gone)
        self.ids = ids
        for repo_id in ids:
            if self._states.get(repo_id) != _state(self._source.folder(repo_id)):
                self._copy(repo_id)

    def problems(self) -> Iterator[str]:
        return _broken(self._target, self.ids)

    def _copy(self, repo_id: int) -> None:
        source = self._source.folder(repo_id)
        try:
            with making(self._target.folder(repo_id)) as folder, writing(source):
                self._states[repo_id] = _state(source)
                replicate(source, folder)
        except FileNotFoundError:  # removed meanwhile; else it is missed when all are looked at
            self._states.pop(repo_id, None)


class _Blobs:
    """Blobs of one store, copied to another. Those that are there already stay."""

    def __init__(self, source: BlobStore, target: BlobStore, copied: Copied) -> None:
        self._source = source
        self._target = target
        self._copied = copied
        self._damaged: set[str] = set()

    def copy_all(self) -> None:
        there = dict(self._target.all())
        new = [
            one for one in self._source.all() if there.get(one[0]) != one[1] and one[0] not in self._damaged
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for size in pool.map(self._copy, new):
                if size:
                    self._copied(size)

    def problems(self, wanted: dict[str, int]) -> Iterator[str]:
        """Which of the blobs in `wanted` are not there, whole."""
        there = dict(self._target.all())
        for sha256, size in wanted.items():
            if sha256 in self._damaged:
                yield f"the blob {sha256} is damaged: its bytes have another hash."
            elif there.get(sha256) != size:
                yield f"the blob {sha256} is missing."

    def keep_only(self, wanted: dict[str, int]) -> None:
        """Remove what no repository has any more."""
        for sha256, _ in list(self._target.all()):
            if sha256 not in wanted:
                self._target.delete(sha256)

    def _copy(self, blob: tuple[str, int]) -> int:
        """How many bytes were copied: none that are not what they should be, or were collected meanwhile."""
        sha256, size = blob
        try:
            self._target.write(sha256, size, self._source.read(sha256, 0, size))
        except BadRequest:
            self._damaged.add(sha256)
            return 0
        except NotFound:
            return 0
        return size


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes whenever a ref of the repository does."""
    found: dict[str, tuple[int, int]] = {}
    for path in (folder / "HEAD", folder / "packed-refs", *(folder / "refs").rglob("*")):
        with suppress(FileNotFoundError):
            stat = path.stat()
            found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found


def _broken(git: GitStore, ids: list[int]) -> Iterator[str]:
    """The repositories that are missing, or have a ref that leads to nothing."""
    for repo_id in ids:
        try:
            bad = list(_broken_refs(git.folder(repo_id)))
        except pygit2.GitError:
            bad = ["all of it"]
        if bad:
            yield f"the repository number {repo_id} is damaged: {', '.join(bad[:3])}."


def _broken_refs(folder: Path) -> Iterator[str]:
    repository = pygit2.Repository(folder, RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH)
    names = repository.listall_references()
    for name in {BRANCH + MAIN, *names}:
        try:
            repository.lookup_reference(name).peel(pygit2.Tree)
        except (KeyError, ValueError, pygit2.GitError):
            yield name


def _repo_ids(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM repos ORDER BY id")]


def _blobs_of(database: Path) -> dict[str, int]:
    """Every blob that a repository may reach, and its size."""
    query = "SELECT sha256, size FROM blobs WHERE sha256 IN (SELECT sha256 FROM repo_blobs)"
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute(query).fetchall())


def _begin_anew(path: Path, forget: Callable[[Session], None]) -> None:
    """Forget uploads on their way, and let clients of Xet forget what they have sent."""
    database = Database(f"sqlite:///{path}")
    try:
        database.migrate()  # the backup may be an older Lanza's
        with database.writing() as session:
            session.execute(delete(Multipart))
            session.execute(delete(Xorb))
            session.execute(
                delete(HubState).where(HubState.name == STORE)
            )  # a new one is made when asked for
            forget(session)
    finally:
        database.close()


def _check_apart(data: Path, target: Path) -> None:
    one, other = data.resolve(), target.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UsageError(
            f"{data} and {target} lie within each other: keep a backup elsewhere, best on another disk."
        )


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Make the folder, and be the only one that writes to it."""
    known = {BLOBS, RECORDS, _NEW, _OLD, "lanza.lock"}
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    if {path.name for path in target.iterdir()} - known:
        raise UsageError(f"{target} holds other files: name an empty folder, or an earlier backup.")
    try:
        with writing(target):
            yield
    except Unavailable as error:
        raise UsageError(f"another backup is being written to {target}: wait for its end.") from error


def _settle(target: Path) -> None:
    """Undo what a killed backup left half-way."""
    if (target / RECORDS).exists():
        shutil.rmtree(target / _OLD, ignore_errors=True)
    elif (target / _OLD).exists():
        (target / _OLD).rename(target / RECORDS)


def _seal(records: Path, report: Report) -> None:
    """Say that all is there, once it is on the disk."""
    _sync()
    said = {"format": FORMAT, "made": now().isoformat(), **asdict(report)}
    (records / SEAL).write_text(json.dumps(said, indent=1), encoding="utf-8")


def _sync() -> None:
    """Have everything on the disk itself, where the system can."""
    if hasattr(os, "sync"):
        os.sync()


def _replace(target: Path) -> None:
    if (target / RECORDS).exists():
        (target / RECORDS).rename(target / _OLD)
    (target / _NEW).rename(target / RECORDS)
    shutil.rmtree(target / _OLD, ignore_errors=True)


def _check_seal(records: Path) -> None:
    try:
        said = json.loads((records / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{records.parent} holds no whole backup: name the folder of one.") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise UsageError(f"the backup in {records.parent} was made by a newer Lanza: update this one.")
