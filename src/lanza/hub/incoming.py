"""Bytes on their way into the store: hashed while they are written, in large pieces, on threads.

The model: whoever sends says first which SHA-256 and how many bytes. What comes is joined to pieces of some
MiB; a piece is hashed and written at the same time, on two cores, while the next comes in. Nothing is kept in
memory beyond those, and nothing is left on the disk when something is wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from starlette.concurrency import run_in_threadpool

from lanza.errors import BadRequest, StorageFull

PIECE: Final = 4 * 2**20
"""Bytes that are hashed and written at once: large, so that threads seldom wait for each other."""

WRITE_OUT: Final = 64 * 2**20
"""After so many bytes the disk is asked to begin with them, so that little is left to wait for in the end."""


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
                    f"more came than the {self.size:,} bytes that were said: check the file's size."
                )
            self._begin_hash(data)
            if not self._stored:
                self._save(data)

    def finish(self) -> Path | None:
        """The finished file, None with `stored`. BadRequest when the bytes are not those that were said."""
        with self._lock:
            if self._file is None and not self._stored:
                self._file = self._path.open("xb", buffering=0)
            self._release()
            check_content(self.sha256, self.size, self._hash.hexdigest(), self._come)
            return None if self._stored else self._path

    def drop(self) -> None:
        with self._lock:
            self._dropped = True
            self._release()
            if self._file is not None:
                self._path.unlink(missing_ok=True)

    def _release(self) -> None:
        """Let go of the thread and the file."""
        self._end_hash()
        if self._hasher is not None:
            self._hasher.shutdown()
            self._hasher = None
        if self._file is not None:
            self._file.close()

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
