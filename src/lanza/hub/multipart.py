"""Large files that come in parts, because they are too large for one request.

The model: parts are written into one file at their places, so that in the end there is only to verify. Beside
it lies a file with a byte for each part, 1 once all of the part has come: what is missing is known here, and
no client has to be believed. An upload that is not whole stays as it is until it is, or is given up.

Whoever writes, or makes a blob of the file, has the upload's turn meanwhile, and opens the file within it: a
part that is still coming when the upload is completed changes nothing of what was verified.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from lanza.database import now
from lanza.errors import BadRequest, NotFound
from lanza.hub.hub import Hub
from lanza.hub.incoming import feed, full_disk
from lanza.hub.lfs import Large, find, record
from lanza.hub.records import Multipart

LARGEST_PIECE: Final = 2 * 2**30
"""Files up to this size come in one request."""

PART: Final = 256 * 2**20
MOST_PARTS: Final = 1_000

MOST_NAMED: Final = 20
"""Missing parts that are named, from the first on."""

PARTS: Final = "parts"
"""The folder of uploads, each with two files that are called by its id."""


def begin_parts(session: Session, repo_id: int, file: Large) -> Multipart:
    """An upload in parts: the one that this repository has begun for the file, or a new one."""
    asked = select(Multipart).where(Multipart.repo_id == repo_id, Multipart.sha256 == file.sha256)
    begun = session.scalar(asked.where(Multipart.size == file.size).limit(1))
    if begun is not None:
        begun.created_at = now()
        return begun
    size = max(PART, -(-file.size // MOST_PARTS))
    begun = Multipart(
        id=secrets.token_hex(16),
        repo_id=repo_id,
        sha256=file.sha256,
        size=file.size,
        chunk_size=size,
        created_at=now(),
    )
    session.add(begun)
    return begun


def count_parts(upload: Multipart) -> int:
    return -(-upload.size // upload.chunk_size)


def files_of(hub: Hub, upload_id: str) -> tuple[Path, Path]:
    """The file of the parts, and the one that says which have come."""
    path = hub.blobs.staging / PARTS / upload_id
    return path, path.with_suffix(".come")


async def receive_part(hub: Hub, upload_id: str, number: int, chunks: AsyncIterator[bytes]) -> str:
    """Write part `number`, from 1 on, to its place. Gives its ETag. BadRequest when its size is wrong."""
    part = await run_in_threadpool(_begin, hub, upload_id, number)
    await feed(chunks, part.write)
    await run_in_threadpool(part.finish)
    return f'"{upload_id}-{number}"'


def _begin(hub: Hub, upload_id: str, number: int) -> _Part:
    with hub.database.reading() as session:
        upload = _begun(session, upload_id)
        start = (number - 1) * upload.chunk_size
        if not 0 <= start < upload.size:
            raise BadRequest(f"this upload has the parts 1 to {count_parts(upload)}, and no {number}.")
        size = min(upload.chunk_size, upload.size - start)
    part = _Part(hub, upload_id, number, start, size)
    part.begin()
    return part


class _Part:
    """Writes what comes to its place in a file, and no byte beyond its end."""

    def __init__(self, hub: Hub, upload_id: str, number: int, start: int, size: int) -> None:
        self._turn = partial(hub.blobs.turn, upload_id)
        self._path, self._come = files_of(hub, upload_id)
        self._number = number
        self._start = start
        self._size = size
        self._written = 0

    def begin(self) -> None:
        """From now on the part counts as not there, until all of it is."""
        with self._turn(), full_disk():
            if not self._path.exists():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._come.write_bytes(b"")
                self._path.touch()
            self._note(come=False)

    def write(self, data: bytes) -> None:
        if self._written + len(data) > self._size:
            raise BadRequest(f"this part has {self._size:,} bytes, and more came: send it again.")
        with self._turn(), full_disk(), self._open(self._path) as file:
            file.seek(self._start + self._written)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        self._written += len(data)

    def finish(self) -> None:
        if self._written != self._size:
            raise BadRequest(
                f"part {self._number} has {self._size:,} bytes, and {self._written:,} came: send it again."
            )
        with self._turn(), full_disk():
            self._note(come=True)

    def _note(self, *, come: bool) -> None:
        with self._open(self._come) as file:
            file.seek(self._number - 1)
            file.write(bytes([come]))

    def _open(self, path: Path) -> FileIO:
        try:
            return FileIO(path, "r+b")
        except FileNotFoundError:
            raise NotFound("this upload is complete, or was given up: begin it again.") from None


def _missing(path: Path, come: Path, count: int) -> list[int]:
    """The parts that are not there, from 1 on."""
    noted = come.read_bytes() if path.exists() and come.exists() else b""
    return [number for number, is_there in enumerate(noted.ljust(count, b"\0"), 1) if not is_there]


def complete(hub: Hub, upload_id: str, sha256: str) -> None:
    """Make a blob of the parts. A client that asks again, because verifying took long, waits for the first.

    BadRequest names parts that have not come, and keeps the others. When the whole is not what was said,
    nobody knows which part is wrong: all of them have to come again.
    """
    with hub.blobs.turn(upload_id):
        with hub.database.reading() as session:
            upload = _begun(session, upload_id)
            done = find(session, upload.repo_id, upload.sha256) is not None
        file = Large(sha256=upload.sha256, size=upload.size)
        if sha256 != file.sha256:
            raise BadRequest(f"this upload is of {file.sha256}, and not of {sha256}.")
        path, come = files_of(hub, upload_id)
        if done and not path.exists():
            return
        if missing := _missing(path, come, count_parts(upload)):
            raise BadRequest(_what_is_missing(missing, count_parts(upload)))
        try:
            hub.blobs.accept(path, file.sha256, file.size)
        except BadRequest:
            come.unlink()
            path.unlink()
            raise
        come.unlink()
        record(hub, upload.repo_id, [file])


def _what_is_missing(missing: Sequence[int], count: int) -> str:
    named = ", ".join(map(str, missing[:MOST_NAMED]))
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return (
        f"of the {count} parts of this upload, these have not come: {named}{more}. The others are kept: send "
        "what is missing to the same addresses, and complete the upload again."
    )


def _begun(session: Session, upload_id: str) -> Multipart:
    upload = session.get(Multipart, upload_id)
    if upload is None:
        raise NotFound("this upload is unknown, or was given up: begin it again.")
    return upload
