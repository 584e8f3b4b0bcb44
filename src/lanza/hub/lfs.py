"""Large files of a repository: who may reach a blob, and how one comes in by git-lfs' protocol.

The model: knowing a SHA-256 is no right to its content. A repository may reach a blob (`RepoBlob`) once
somebody who may write there has sent its bytes, or may read another repository that reaches it. A file comes
in one piece; a very large one in parts (`multipart.py`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
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
from lanza.hub.records import Blob, Repo, RepoBlob

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
