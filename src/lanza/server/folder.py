"""The data folder: what lies in it, that one server at a time has it, and how a first start fills it.

lock          held by the server that runs here
collect.lock  held by who collects; its time is when that was last
lanza.db      the records, unless they are in PostgreSQL
secret.key    signs URLs and short-lived tokens
admin.token   the administrator's first token, for its owner's eyes only
git/ blobs/   repositories, and large files unless they are in an object store
models/       folders of models that endpoints serve, made from the two above
scratch/      files on their way, emptied at each start
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.auth.records import Account
from lanza.auth.signing import Signer, load_key
from lanza.database import Database
from lanza.endpoints import lease
from lanza.errors import UsageError
from lanza.hub.blobs import BlobStore
from lanza.hub.git import GitStore
from lanza.hub.hub import Hub
from lanza.server.settings import ServerSettings

ADMIN: Final = "admin"
"""The name of the account that a first start makes."""


@dataclass(frozen=True, kw_only=True)
class DataFolder:
    """Where in `path` each thing is."""

    path: Path

    @property
    def database(self) -> str:
        return f"sqlite:///{self.path / 'lanza.db'}"

    @property
    def key(self) -> Path:
        return self.path / "secret.key"

    @property
    def admin_token(self) -> Path:
        return self.path / "admin.token"

    @property
    def git(self) -> Path:
        return self.path / "git"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def _collect_lock(self) -> Path:
        return self.path / "collect.lock"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def counters(self) -> Path:
        """Where several workers count together, from a start to the next."""
        return self.scratch / "counters"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold its lock. UsageError when it cannot be made, or another process has it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = (self.path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise UsageError(
                f"cannot keep data in {self.path}: {error.strerror}. Choose another folder with --data."
            ) from error
        with file:
            if not _lock(file):
                raise UsageError(
                    f"another Lanza{_owner(file)} has {self.path}: stop it, or choose another with --data."
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Be the only one that collects. UsageError when another does. At the end its time is noted."""
        with self._collect_lock.open("a+", encoding="ascii") as file:
            if not _lock(file):
                raise UsageError("what nobody needs is being collected just now: try again later.")
            yield
            os.utime(file.fileno())

    @property
    def collected_at(self) -> float:
        """When it was collected last, in seconds since 1970; if never, when that was asked for first."""
        if not self._collect_lock.exists():
            self._collect_lock.touch()
        return self._collect_lock.stat().st_mtime

    def empty_scratch(self) -> None:
        """Remove what an earlier run has left half-way."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(exist_ok=True)


def _lock(file: IO[str]) -> bool:
    """Whether this process has got the lock. It is held until the file is closed, or the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _owner(file: IO[str]) -> str:
    file.seek(0)
    number = file.read(20)
    return f" (process {number})" if number.isdigit() else ""


def open_hub(settings: ServerSettings) -> Hub:
    """The Hub that `settings` describe, its schema brought up to date; a first start makes an administrator.

    Only to be called while the folder is held. UsageError when the database is newer than this code.
    """
    folder = DataFolder(path=settings.data)
    folder.empty_scratch()
    folder.git.mkdir(exist_ok=True)
    hub = hub_of(settings)
    try:
        hub.database.migrate()
        make_admin(hub.database, folder.admin_token)
        with hub.database.writing() as session:
            lease.clear(session)  # whoever held one was a server over this folder
        return hub
    except BaseException:
        hub.database.close()
        raise


def hub_of(settings: ServerSettings) -> Hub:
    """The same as it is: for a process of a server that has it open."""
    folder = DataFolder(path=settings.data)
    return Hub(
        database=Database(settings.database or folder.database),
        git=GitStore(folder.git),
        blobs=BlobStore.open(settings.storage or str(settings.data), folder.scratch),
        signer=Signer(load_key(folder.key)),
        limits=settings.limits,
        refused=settings.refused,
    )


def make_admin(database: Database, path: Path) -> bool:
    """On a first start: an administrator, with a token that is written to `path`. Whether it was needed."""
    with database.writing() as session:
        if session.scalar(select(Account.id).where(Account.admin).limit(1)) is not None:
            return False
        admin = accounts.create_user(session, ADMIN, admin=True)
        _write_token(session, admin, path)
    return True


def renew_admin_token(database: Database, path: Path) -> None:
    """Take the administrator's first token back, and write a new one to `path`."""
    with database.writing() as session:
        admin = accounts.find(session, ADMIN)
        if admin is None or not admin.admin:
            raise UsageError(f"there is no administrator called {ADMIN}: ask one of the others for a token.")
        if any(token.name == ADMIN for token in tokens.all_of(session, admin)):
            tokens.revoke(session, admin, ADMIN)
        _write_token(session, admin, path)


def _write_token(session: Session, admin: Account, path: Path) -> None:
    """Written before the transaction ends: a token that was lost half-way was never issued."""
    _, value = tokens.issue(session, admin, name=ADMIN, role=Role.ADMIN)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
