"""Large files, each by the SHA-256 of its bytes: how they come in, whole and true or not at all.

The model: bytes are hashed while they are written to a file in the scratch folder. If they are what their
sender said, the file moves to the shelf (`shelves.py`); if not, nothing is left. So what has a name here has
that content, and the same content is stored once. Who may reach a blob is said elsewhere (`lfs.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from errno import EDQUOT, ENOSPC
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Self, TypeVar

from starlette.concurrency import run_in_threadpool

from lanza.errors import BadRequest, NotFound, StorageFull
from lanza.hub.shelves import Bucket, Folder, Shelf

T = TypeVar("T")

PIECE: Final = 4 * 2**20
"""Bytes that are hashed and written at once: large, so that threads seldom wait for each other."""

WRITE_OUT: Final = 64 * 2**20
"""After so many bytes the disk is asked to begin with them, so that little is left to wait for in the end."""

WORKERS: Final = 4
"""Large files that are put together at the same time."""

BLOBS: Final = "blobs"


class BlobStore:
    """Blobs on a shelf.

    `scratch` is a folder for files that are being written; `staging` one for what has come and waits for more
    of it, which outlives a restart.
    """

    def __init__(self, shelf: Shelf, *, scratch: Path, staging: Path) -> None:
        self._shelf = shelf
        self._scratch = scratch
        self.staging = staging
        self._turns = _Turns()
        self._workers = ThreadPoolExecutor(WORKERS, "blobs")

    @classmethod
    def open(cls, where: str, scratch: Path) -> Self:
        """A folder, or a URL that obstore knows (`s3://bucket/prefix`, `gs://...`, `az://...`).

        Regions, keys and endpoints of a bucket are read from the environment (`AWS_REGION`, ...).
        """
        scratch.mkdir(parents=True, exist_ok=True)
        if "://" not in where:
            folder = Path(where)
            return cls(Folder(folder), scratch=scratch, staging=folder)
        from obstore.store import from_url

        return cls(Bucket(from_url(where)), scratch=scratch, staging=scratch.parent)

    async def receive(self, sha256: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Store what comes. BadRequest when it is not what was said, StorageFull; then nothing is left."""
        incoming = Incoming(self._scratch, sha256, size)
        try:
            await feed(chunks, incoming.write)
            await run_in_threadpool(self._keep, incoming)
        finally:
            incoming.drop()

    def write(self, sha256: str, size: int, chunks: Iterable[bytes]) -> None:
        """The same for bytes that are here. Those of a blob that is stored already are only verified."""
        incoming = Incoming(self._scratch, sha256, size, stored=self.size(sha256) == size)
        try:
            for piece in gathered(chunks):
                incoming.write(piece)
            self._keep(incoming)
        finally:
            incoming.drop()

    def accept(self, source: Path, sha256: str, size: int) -> None:
        """Store a file that was written elsewhere in the data folder. BadRequest when it is another one."""
        with source.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        check_content(sha256, size, found, source.stat().st_size)
        with full_disk():
            self._shelf.put(source, key_of(sha256))

    def _keep(self, incoming: Incoming) -> None:
        path = incoming.finish()
        if path is not None:
            with full_disk():
                self._shelf.put(path, key_of(incoming.sha256))

    async def work(self, task: Callable[..., T], *given: Any) -> T:
        """Do what takes long on a thread kept for such things: there are few, and other requests have theirs.

        It goes on when its client has left, who may come again and find it done.
        """
        return await asyncio.get_running_loop().run_in_executor(self._workers, task, *given)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Be the only one in this process that works on `name`; others wait."""
        with self._turns.of(name):
            yield

    def has(self, sha256: str) -> bool:
        return self._shelf.find(key_of(sha256)) is not None

    def size(self, sha256: str) -> int | None:
        found = self._shelf.find(key_of(sha256))
        return found.size if found else None

    def path(self, sha256: str) -> Path | None:
        """The file itself, when the shelf is a folder that has it."""
        path = self._shelf.path(key_of(sha256))
        return path if path is not None and path.is_file() else None

    def read(
        self, sha256: str, start: int = 0, end: int | None = None, piece: int = 2**20
    ) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces. NotFound, with the first, if they are not here."""
        stop = self.size(sha256) if end is None else end
        try:
            if stop is None:
                raise FileNotFoundError(sha256)
            yield from self._shelf.read(key_of(sha256), start, stop, piece)
        except FileNotFoundError as error:
            raise NotFound(
                f"the content {sha256} is missing or cut off in this server's store: push the file again, "
                "and tell its operator, who can look for more with `lanza hub verify`."
            ) from error

    def delete(self, sha256: str) -> None:
        self._shelf.delete(key_of(sha256))

    def all(self) -> Iterator[tuple[str, int]]:
        """Every blob: its SHA-256 and its size."""
        return ((sha256, size) for sha256, size, _ in self.listing())

    def listing(self) -> Iterator[tuple[str, int, datetime]]:
        """The same, with the time when it was stored last."""
        for item in self._shelf.all(BLOBS):
            name = item.key.rpartition("/")[2]
            if item.key == key_of(name):
                yield name, item.size, item.since


class Incoming:
    """Bytes on their way to become the blob `sha256`: hashed and written, each piece on two cores.

    With `stored`, they are only hashed. Nothing is made before the first piece. `drop` may come at any time,
    also from another thread, and leaves nothing behind.
    """

    def __init__(self, folder: Path, sha256: str, size: int, *, stored: bool = False) -> None:
        self.sha256 = sha256
        self.size = size
        self._path = folder / secrets.token_hex(16)
        self._stored = stored
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._hashing: Future[None] | None = None
        self._hasher: ThreadPoolExecutor | None = None
        self._come = 0
        self._asked = 0
        self._lock = Lock()
        self._dropped = False

    def write(self, data: bytes) -> None:
        """BadRequest as soon as there are more than was said."""
        with self._lock, full_disk():
            if self._dropped:
                return
            self._come += len(data)
            if self._come > self.size:
                raise BadRequest(
                    f"more than the {self.size:,} bytes came that were said: check the file's size."
                )
            self._begin_hash(data)
            if not self._stored:
                self._save(data)

    def finish(self) -> Path | None:
        """The finished file, None with `stored`. BadRequest when the bytes are not those that were said."""
        with self._lock:
            if self._file is None and not self._stored:
                self._file = self._path.open("xb", buffering=0)
            self._end_hash()
            check_content(self.sha256, self.size, self._hash.hexdigest(), self._come)
            if self._file is not None:
                self._file.close()
            return None if self._stored else self._path

    def drop(self) -> None:
        with self._lock:
            self._dropped = True
            if self._hasher is not None:
                self._hasher.shutdown()
            if self._file is not None:
                self._file.close()
                self._path.unlink(missing_ok=True)

    def _begin_hash(self, data: bytes) -> None:
        self._end_hash()
        if len(data) < PIECE // 4:
            self._hash.update(data)
            return
        self._hasher = self._hasher or ThreadPoolExecutor(1)
        self._hashing = self._hasher.submit(self._hash.update, data)

    def _end_hash(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None

    def _save(self, data: bytes) -> None:
        self._file = self._file or self._path.open("xb", buffering=0)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        if self._come - self._asked >= WRITE_OUT:
            begin_writing_out(self._file.fileno(), self._asked, self._come)
            self._asked = self._come


def key_of(sha256: str) -> str:
    return f"{BLOBS}/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def check_content(sha256: str, size: int, found: str, found_size: int) -> None:
    if found_size != size:
        raise BadRequest(
            f"{found_size:,} bytes came, and not the {size:,} that were said: send the file again."
        )
    if found != sha256:
        raise BadRequest(
            f"what came has the SHA-256 {found}, and not {sha256}: the file has changed meanwhile, or was "
            "damaged on its way. Send it again."
        )


async def feed(chunks: AsyncIterator[bytes], write: Callable[[bytes], None]) -> None:
    """Hand `chunks` to `write` in large pieces, on threads. While one is written the next comes in."""
    writing: asyncio.Task[None] | None = None
    try:
        waiting: list[bytes] = []
        length = 0
        async for chunk in chunks:
            waiting.append(chunk)
            length += len(chunk)
            if length >= PIECE:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(write, b"".join(waiting)))
                waiting, length = [], 0
        if writing is not None:
            await writing
        if length:
            await run_in_threadpool(write, b"".join(waiting))
    finally:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])


def gathered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, in pieces that are worth a call: small ones joined, large ones as they are."""
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= PIECE:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, length = [], 0
    if length:
        yield b"".join(waiting)


def begin_writing_out(descriptor: int, start: int, end: int) -> None:
    """Ask the system to begin to put bytes on the disk, without waiting for it."""
    if hasattr(os, "posix_fadvise"):  # on Linux, this is what it does with pages that are not there yet
        os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


@contextmanager
def full_disk() -> Iterator[None]:
    """StorageFull for a disk, or a user's share of it, that has no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise StorageFull(
            "the server's disk is full: nothing of this file was kept. Ask its operator for room."
        ) from error


class _Turns:
    """Locks by name, which are there while somebody has or wants them."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[str, tuple[Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(name, (Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[name]
                if users == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, users - 1)
