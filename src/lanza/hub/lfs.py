"""Large files of a repository: who may reach a blob, and how one comes in by git-lfs' protocol.

The model: knowing a SHA-256 is no right to its content. A repository may reach a blob (`RepoBlob`) once
somebody who may write there has sent its bytes, or may read another repository that reaches it. A file comes
in one piece, or in parts when it is very large; parts are written into one file at their places, so that in
the end there is only to verify. URLs for uploads are signed, for clients send no token with the bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from lanza.auth.principal import Principal
from lanza.database import now
from lanza.errors import BadRequest, Gated, NotFound, Unavailable
from lanza.hub.access import check_content, visible
from lanza.hub.hub import Hub
from lanza.hub.incoming import feed, full_disk
from lanza.hub.records import Blob, Multipart, Repo, RepoBlob

LARGEST_PIECE: Final = 2 * 2**30
"""Files up to this size come in one request."""

PART: Final = 256 * 2**20
MOST_PARTS: Final = 1_000

MOST_ASKED: Final = 100
"""Gated repositories with a blob that are looked at to find one that lets the caller in."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Large:
    """A large file, as a client names it."""

    sha256: str
    size: int

    def check(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise BadRequest(f"{self.sha256!r} is no SHA-256: it has 64 digits and letters from a to f.")
        if not 0 <= self.size <= _LARGEST:
            raise BadRequest(f"no file has {self.size} bytes.")


def grant(session: Session, repo_id: int, sha256: str, size: int) -> None:
    """Let a repository reach a blob. To be called for one that is stored, by who has seen a right to it."""
    grant_all(session, repo_id, [Large(sha256=sha256, size=size)])


def grant_all(session: Session, repo_id: int, files: Sequence[Large]) -> None:
    if not files:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    moment = now()
    blobs = insert(Blob)
    session.execute(
        blobs.on_conflict_do_update(index_elements=[Blob.sha256], set_={"size": blobs.excluded.size}),
        [{"sha256": file.sha256, "size": file.size, "created_at": moment} for file in files],
    )
    # The time counts from the last upload: what nobody commits is collected only long after it.
    session.execute(
        insert(RepoBlob).on_conflict_do_update(
            index_elements=[RepoBlob.repo_id, RepoBlob.sha256], set_={"created_at": moment}
        ),
        [{"repo_id": repo_id, "sha256": file.sha256, "created_at": moment} for file in files],
    )


def record(hub: Hub, repo_id: int, files: Sequence[Large]) -> None:
    """Let a repository reach blobs that have just been stored for it."""
    with hub.database.writing() as session:
        if session.get(Repo, repo_id) is None:
            raise NotFound("the repository was removed meanwhile.")
        grant_all(session, repo_id, files)
        check_stored(hub, files)


def check_stored(hub: Hub, files: Sequence[Large]) -> None:
    """To be called after `grant`, within its transaction: from then on nothing collects these blobs."""
    if not all(hub.blobs.has(file.sha256) for file in files):
        raise Unavailable("a file was collected while it came: send it again.")


def find(session: Session, repo_id: int, sha256: str) -> Large | None:
    """The large file, if the repository may reach it."""
    query = select(Blob.size).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    size = session.scalar(query.where(RepoBlob.repo_id == repo_id, Blob.sha256 == sha256))
    return None if size is None else Large(sha256=sha256, size=size)


def has_already(hub: Hub, session: Session, caller: Principal, repo_id: int, file: Large) -> bool:
    """Whether these bytes need not be sent again: they are here, and the caller may read them somewhere.

    Then the repository may reach them from now on.
    """
    blob = session.get(Blob, file.sha256, with_for_update=True)  # it is not collected while we look
    if blob is None or hub.blobs.size(file.sha256) != blob.size:
        return False
    if find(session, repo_id, file.sha256) is None and not _may_read(session, caller, file.sha256):
        return False
    if blob.size != file.size:
        raise BadRequest(f"{file.sha256} is said to have {file.size:,} bytes: it has {blob.size:,} here.")
    grant(session, repo_id, file.sha256, file.size)
    return True


def _may_read(session: Session, caller: Principal, sha256: str) -> bool:
    reached = select(Repo).join(RepoBlob, RepoBlob.repo_id == Repo.id)
    reached = reached.where(RepoBlob.sha256 == sha256, visible(caller))
    if session.scalar(reached.where(Repo.gated == "").limit(1)) is not None:
        return True
    return any(_lets_in(session, caller, repo) for repo in session.scalars(reached.limit(MOST_ASKED)))


def _lets_in(session: Session, caller: Principal, repo: Repo) -> bool:
    try:
        check_content(session, caller, repo)
    except Gated:
        return False
    return True


async def receive(hub: Hub, repo_id: int, file: Large, chunks: AsyncIterator[bytes]) -> None:
    """Take a large file that comes in one piece, for a repository."""
    await hub.blobs.receive(file.sha256, file.size, chunks)
    await run_in_threadpool(record, hub, repo_id, [file])


# In parts


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


def parts_path(hub: Hub, upload_id: str) -> Path:
    return hub.blobs.staging / "parts" / upload_id


async def receive_part(hub: Hub, upload_id: str, number: int, chunks: AsyncIterator[bytes]) -> str:
    """Write part `number`, from 1 on, to its place. Gives its ETag. BadRequest when its size is wrong."""
    start, size = await run_in_threadpool(_place, hub, upload_id, number)
    part = _Part(parts_path(hub, upload_id), start, size)
    try:
        await feed(chunks, part.write)
    finally:
        part.close()
    if part.come != size:
        raise BadRequest(f"part {number} has {size:,} bytes, and {part.come:,} came: send it again.")
    return f'"{upload_id}-{number}"'


def _place(hub: Hub, upload_id: str, number: int) -> tuple[int, int]:
    with hub.database.reading() as session:
        upload = _begun(session, upload_id)
        start = (number - 1) * upload.chunk_size
        if not 0 <= start < upload.size:
            raise BadRequest(f"this upload has the parts 1 to {count_parts(upload)}, and no {number}.")
    path = parts_path(hub, upload_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return start, min(upload.chunk_size, upload.size - start)


class _Part:
    """Writes what comes to its place in a file, and no byte beyond its end."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("r+b", buffering=0)
        self._file.seek(start)
        self._size = size
        self.come = 0

    def write(self, data: bytes) -> None:
        self.come += len(data)
        if self.come > self._size:
            raise BadRequest(f"this part has {self._size:,} bytes, and more came: send it again.")
        rest = memoryview(data)
        with full_disk():
            while rest:
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        self._file.close()


def complete(hub: Hub, upload_id: str, sha256: str, parts: Sequence[int]) -> None:
    """Make a blob of the parts. A client that asks again, because verifying took long, waits for the first.

    BadRequest names parts that are missing; when the whole is not what was said, it has to come again.
    """
    with hub.blobs.turn(upload_id):
        with hub.database.reading() as session:
            upload = _begun(session, upload_id)
            done = find(session, upload.repo_id, upload.sha256) is not None
        file = Large(sha256=upload.sha256, size=upload.size)
        if sha256 != file.sha256:
            raise BadRequest(f"this upload is of {file.sha256}, and not of {sha256}.")
        missing = sorted(set(range(1, count_parts(upload) + 1)) - set(parts))
        if missing:
            raise BadRequest(f"this upload has parts that were not sent: {', '.join(map(str, missing))}.")
        path = parts_path(hub, upload_id)
        if done and not path.exists():
            return
        _accept(hub, path, file)
        record(hub, upload.repo_id, [file])


def _accept(hub: Hub, path: Path, file: Large) -> None:
    try:
        hub.blobs.accept(path, file.sha256, file.size)
    except FileNotFoundError:
        raise BadRequest("no part of this upload has come: send all of them.") from None
    except BadRequest:
        path.unlink(missing_ok=True)
        raise


def _begun(session: Session, upload_id: str) -> Multipart:
    upload = session.get(Multipart, upload_id)
    if upload is None:
        raise NotFound("this upload is unknown, or was given up: begin it again.")
    return upload
