"""Copies of a data folder, made while the server runs, and a data folder made of a copy.

    blobs/      large files by their hash, shared by all backups to this folder
    records/    the rest as it was at one moment: database, git repositories, keys; backup.json seals it

The model: first everything is copied as it is. Then, with nobody writing to the database, it is copied once
more, and those repositories that have moved since: whatever git names then, the database knows. Last come
the blobs of that moment. What a hash names is compared with its hash on the way, in both directions. The
new records take the place of the old ones in one step, so that a backup that breaks off leaves the one
before it.

Uploads on their way are not copied, so a restored server tells clients of Xet to begin anew. What lies
outside of the folder (PostgreSQL, an object store) has its own ways to be saved.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import RepositoryOpenFlag
from sqlalchemy import delete

from lanza.database import Database, now
from lanza.errors import Unavailable, UsageError
from lanza.hub.bare import making, replicate
from lanza.hub.blobs import key_of
from lanza.hub.git import GitStore
from lanza.hub.records import HubState, Multipart, Xorb
from lanza.hub.refs import BRANCH, MAIN, writing
from lanza.hub.xet.store import STORE

FORMAT: Final = 1
DATABASE: Final = "lanza.db"
KEYS: Final = ("secret.key", "admin.token")
BLOBS: Final = "blobs"
GIT: Final = "git"
RECORDS: Final = "records"
SEAL: Final = "backup.json"

_NEW: Final = "records.new"
_OLD: Final = "records.old"
_LOCK_SECONDS: Final = 30

Copied = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was copied. `problems` names what is damaged or missing, each in a line."""

    repositories: int
    blobs: int
    bytes: int
    problems: tuple[str, ...] = ()


def backup(data: Path, target: Path, *, copied: Copied = lambda size: None) -> Report:
    """Copy the data folder `data` to `target`, an empty folder or an earlier backup.

    `copied` is told the size of each blob that was copied. UsageError when a folder is not what it should be.
    """
    if not (data / DATABASE).is_file():
        raise UsageError(
            f"{data} holds no {DATABASE}: name the server's data folder. Records that are in PostgreSQL are "
            "saved with pg_dump."
        )
    _check_apart(data, target)
    with _held(target):
        _settle(target)
        new = target / _NEW
        shutil.rmtree(new, ignore_errors=True)
        (new / GIT).mkdir(parents=True)
        copies = _Repositories(GitStore(data / GIT), GitStore(new / GIT))
        copies.copy_all()
        blobs = _Blobs(data, target, copied)
        blobs.copy_all()
        with _nobody_writes(data / DATABASE):
            _copy_database(data / DATABASE, new / DATABASE)
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
        _seal(new, report)
        _replace(target)
        blobs.keep_only(wanted)
        return report


def restore(target: Path, data: Path, *, copied: Copied = lambda size: None) -> Report:
    """Make the data folder `data`, which must not exist or be empty, of the backup in `target`.

    It appears whole. UsageError when there is no whole backup, or something is in `data`.
    """
    records = target / RECORDS if (target / RECORDS / SEAL).is_file() else target / _OLD
    _check_seal(records)
    _check_apart(data, target)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise UsageError(f"{data} is not empty: move it away, or name a new folder.")
    building = data.with_name(f"{data.name}.restoring")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(records, building, ignore=shutil.ignore_patterns(SEAL))
    building.chmod(0o700)
    blobs = _Blobs(target, building, copied)
    blobs.copy_all()
    wanted = _blobs_of(building / DATABASE)
    ids = _repo_ids(building / DATABASE)
    git = GitStore(building / GIT)
    problems = (*_broken(git, ids), *blobs.problems(wanted))
    _begin_anew(building / DATABASE)
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
    """Blobs of one folder, copied to another. Those that are there already stay."""

    def __init__(self, source: Path, target: Path, copied: Copied) -> None:
        self._source = source / BLOBS
        self._target = target
        self._copied = copied
        self._damaged: set[str] = set()

    def copy_all(self) -> None:
        for path in self._source.glob("??/??/*"):
            if path != self._source.parent / key_of(path.name) or path.name in self._damaged:
                continue
            with suppress(FileNotFoundError):  # collected meanwhile
                self._copy(path)

    def problems(self, wanted: dict[str, int]) -> Iterator[str]:
        """Which of the blobs in `wanted` are not there, whole."""
        for sha256, size in wanted.items():
            path = self._target / key_of(sha256)
            if sha256 in self._damaged:
                yield f"the blob {sha256} is damaged: its bytes have another hash."
            elif not path.is_file() or path.stat().st_size != size:
                yield f"the blob {sha256} is missing."

    def keep_only(self, wanted: dict[str, int]) -> None:
        """Remove what no repository has any more."""
        for path in (self._target / BLOBS).glob("??/??/*"):
            if path.name not in wanted:
                path.unlink()

    def _copy(self, path: Path) -> None:
        target = self._target / key_of(path.name)
        size = path.stat().st_size
        if target.is_file() and target.stat().st_size == size:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{path.name}.{secrets.token_hex(8)}")
        try:
            if _copy_hashed(path, aside) == path.name:
                aside.replace(target)
                self._copied(size)
            else:
                self._damaged.add(path.name)
        finally:
            aside.unlink(missing_ok=True)


def _copy_hashed(source: Path, target: Path) -> str:
    """Copy a file to the disk, and give the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with source.open("rb", buffering=0) as reading, target.open("xb", buffering=0) as copy:
        while piece := reading.read(2**20):
            digest.update(piece)
            copy.write(piece)
        os.fsync(copy.fileno())
    return digest.hexdigest()


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


@contextmanager
def _nobody_writes(database: Path) -> Iterator[None]:
    """Keep everybody from writing to the database; they wait."""
    with closing(sqlite3.connect(database, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the database is busy ({error}): try again.", retry_after=60) from error
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as copy:
        reading.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise UsageError(f"the database {source} is damaged ({found}): restore an earlier backup.")


def _repo_ids(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM repos ORDER BY id")]


def _blobs_of(database: Path) -> dict[str, int]:
    """Every blob that a repository may reach, and its size."""
    query = "SELECT sha256, size FROM blobs WHERE sha256 IN (SELECT sha256 FROM repo_blobs)"
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute(query).fetchall())


def _begin_anew(path: Path) -> None:
    """Forget uploads on their way, and let clients of Xet forget what they have sent."""
    database = Database(f"sqlite:///{path}")
    try:
        with database.writing() as session:
            session.execute(delete(Multipart))
            session.execute(delete(Xorb))
            session.execute(
                delete(HubState).where(HubState.name == STORE)
            )  # a new one is made when asked for
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
