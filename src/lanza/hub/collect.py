"""What the Hub stores and nobody needs, removed; and what it should have, verified.

The model: a blob is needed while a commit on any ref of a repository names it, or while somebody may still be
about to commit it: for a grace period after it came. Collecting takes two steps, each after such a period.
First a repository that neither uses a blob nor got it lately can no longer reach it, so no new commit can
name it. Blobs that no repository reaches are then removed, after looking at all commits once more: one that
was being made during the first step keeps its blob, and can reach it again.

Small files and commits that no ref leads to any more go too (`pruning.py`), and the folders of repositories
that are no more.

Chunks that Xet clients remember may lie in a removed blob. The stores of those accounts start afresh, and
blobs of an account whose client may be uploading just now wait for the next time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import pygit2
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from lanza.database import now
from lanza.errors import NotFound, RepoNotFound, Unavailable
from lanza.hub.bare import remove_leftovers
from lanza.hub.catalog import refresh
from lanza.hub.history import Survey
from lanza.hub.hub import Hub
from lanza.hub.incoming import PIECE
from lanza.hub.lfs import grant
from lanza.hub.multipart import PARTS, files_of
from lanza.hub.pruning import prune
from lanza.hub.records import Blob, Multipart, Repo, RepoBlob, Xorb
from lanza.hub.refs import BRANCH, Refs
from lanza.hub.xet.chunks import Chunks
from lanza.hub.xet.store import start_afresh, used_since, xorbs_folder

UPLOAD: Final = timedelta(hours=2)
"""A Xet client that got a token longer ago has got another, or has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """How much was removed. `released` blobs are out of reach of some repository, and go next time.

    `git_bytes` are of objects that no ref leads to; `folders` were of repositories that are no more.
    """

    blobs: int
    bytes: int
    released: int
    uploads: int
    git_bytes: int
    folders: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something that is not as it should be. `repo` is the repository's name where one needs the blob.

    Without a `sha256` it is the repository itself.
    """

    kind: Literal["missing", "damaged"]
    sha256: str
    repo: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """`logical` bytes is what all repositories reach, one by one; `stored` what that takes on the disk."""

    logical: int
    stored: int
    waiting: int


def collect(hub: Hub, *, older_than: timedelta) -> Collected:
    """Remove what nobody has needed for `older_than`. With a day or so, safe while the server runs.

    It ends with an error when a repository cannot be read: then nothing is removed that it may need.
    """
    uploads = _remove_uploads(hub, now() - older_than)
    surveys = {repo_id: _survey(hub, repo_id) for repo_id in _repos(hub)}
    limit = now() - older_than
    released = {repo_id: _release(hub, repo_id, it.large, limit) for repo_id, it in surveys.items()}
    limit = now() - older_than
    needed = set().union(*(it.large for it in surveys.values()), _chunks_in_use(hub))
    sizes = {
        sha256: size
        for sha256, size, since in list(hub.blobs.listing())
        if since <= limit and sha256 not in needed and _remove(hub, sha256, limit)
    }
    _forget_chunks(hub, sizes.keys())
    pruned = {repo_id: _prune(hub, repo_id, older_than) for repo_id, it in surveys.items() if it.strays}
    for repo_id in surveys:
        if released[repo_id] or pruned.get(repo_id):
            refresh(hub, repo_id)  # it takes less now of what its owner may store
    return Collected(
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        released=sum(released.values()),
        uploads=uploads,
        git_bytes=sum(pruned.values()),
        folders=_remove_folders(hub, older_than),
    )


def verify(hub: Hub, *, looked_at: Callable[[int], None] = lambda size: None) -> list[Problem]:
    """Read every blob, and look for every large file of any commit. Takes as long as reading all of it.

    It changes nothing, and is safe while the server runs. `looked_at` is told the size of each blob.
    """
    problems = []
    for sha256, size in list(hub.blobs.all()):
        if _is_damaged(hub, sha256):
            problems.append(Problem(kind="damaged", sha256=sha256, repo="", message=_damage(hub, sha256)))
        looked_at(size)
    for repo_id, name in _repos(hub).items():
        problems += _missing(hub, repo_id, name)
    return problems


def _missing(hub: Hub, repo_id: int, name: str) -> list[Problem]:
    try:
        missing = sorted(sha256 for sha256 in _survey(hub, repo_id).large if not hub.blobs.has(sha256))
    except (RepoNotFound, Unavailable) as error:
        return [Problem(kind="damaged", sha256="", repo=name, message=str(error))]
    message = "a commit names it, and the store does not have it: push the file again"
    return [Problem(kind="missing", sha256=it, repo=name, message=message) for it in missing]


def _is_damaged(hub: Hub, sha256: str) -> bool:
    digest = hashlib.sha256()
    try:
        for piece in hub.blobs.read(sha256, piece=PIECE):
            digest.update(piece)
    except NotFound:  # it was collected meanwhile; if not, the commit that misses it is named
        return False
    except OSError:  # the disk cannot read it
        return True
    return digest.hexdigest() != sha256


def _damage(hub: Hub, sha256: str) -> str:
    where = hub.blobs.path(sha256) or "its object"
    return f"its bytes are not those that came once: move {where} away, and push the file again"


def usage(hub: Hub) -> Usage:
    """What large files take. `waiting` is what has come and is no blob yet."""
    reached = select(func.coalesce(func.sum(Blob.size), 0)).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    with hub.database.reading() as session:
        logical = session.scalar(reached) or 0
    waiting = sum(_size(path) for name in ("xorbs", PARTS) for path in _files(hub.blobs.staging / name))
    return Usage(logical=logical, stored=sum(size for _, size in hub.blobs.all()), waiting=waiting)


def _repos(hub: Hub) -> dict[int, str]:
    with hub.database.reading() as session:
        rows = session.execute(select(Repo.id, Repo.namespace, Repo.name))
        return {repo_id: f"{namespace}/{name}" for repo_id, namespace, name in rows}


def _survey(hub: Hub, repo_id: int) -> Survey:
    """What a repository holds; nothing, once it was removed."""
    try:
        repo = hub.git.open(repo_id)
        _check_branches(repo.refs)
        return repo.survey()
    except RepoNotFound:
        with hub.database.reading() as session:
            if session.get(Repo, repo_id) is not None:
                raise
        return Survey(large=frozenset(), strays=False)
    except (pygit2.GitError, KeyError) as error:
        raise Unavailable(
            f"the git repository number {repo_id} is damaged ({error}): restore it from a backup"
        ) from error


def _check_branches(refs: Refs) -> None:
    """KeyError when one leads to nothing: what it would need is not known then."""
    for name, _ in refs.values():
        if name.startswith(BRANCH) and refs.target(name) is None and refs.value(name) is not None:
            raise KeyError(name)


def _release(hub: Hub, repo_id: int, needed: Set[str], limit: datetime) -> int:
    """Take blobs out of reach of a repository that does not use them, and give those back that it uses."""
    released = 0
    with hub.database.writing() as session:
        reached = set(session.scalars(select(RepoBlob.sha256).where(RepoBlob.repo_id == repo_id)))
        for sha256 in reached - needed:
            released += _take(session, repo_id, sha256, limit)
        for sha256 in needed - reached if session.get(Repo, repo_id) else ():
            if (size := hub.blobs.size(sha256)) is not None:
                grant(session, repo_id, sha256, size)
    return released


def _take(session: Session, repo_id: int, sha256: str, limit: datetime) -> bool:
    """Whether a blob was taken from a repository. Its time in the store counts from now."""
    held = session.get(RepoBlob, (repo_id, sha256), with_for_update=True)
    if held is None or held.created_at > limit:
        return False
    session.delete(held)
    session.execute(update(Blob).where(Blob.sha256 == sha256).values(created_at=now()))
    return True


def _prune(hub: Hub, repo_id: int, older_than: timedelta) -> int:
    try:
        return prune(hub.git.folder(repo_id), older_than=older_than)
    except RepoNotFound:  # it was removed meanwhile
        return 0


def _remove_folders(hub: Hub, older_than: timedelta) -> int:
    """Remove git folders that no record knows. Without any record, this may be another folder's database."""
    seconds = older_than.total_seconds()
    known = _repos(hub)
    if not known:
        return 0
    removed = 0
    for repo_id in set(hub.git.numbers(older_than=seconds)) - known.keys():
        with hub.database.writing() as session:  # meanwhile no repository gets this number
            if session.get(Repo, repo_id) is None:
                hub.git.remove(repo_id)
                removed += 1
    remove_leftovers(hub.git.root, older_than=seconds)
    return removed


def _chunks_in_use(hub: Hub) -> set[str]:
    """Blobs with chunks that a client may be about to name."""
    with hub.database.reading() as session:
        rows = session.scalars(select(Xorb.chunks).where(Xorb.account_id.in_(_busy(session))))
        return {span.sha256 for packed in rows for span in Chunks.unpack(packed).spans}


def _busy(session: Session) -> list[int]:
    """Accounts that may be uploading by Xet just now."""
    moment = now() - UPLOAD
    accounts = session.scalars(select(Xorb.account_id).distinct())
    return [account for account in accounts if used_since(session, account, moment)]


def _remove(hub: Hub, sha256: str, limit: datetime) -> bool:
    """Remove a blob that no repository reaches. Its record is held meanwhile against uploads."""
    with hub.database.writing() as session:
        blob = session.get(Blob, sha256, with_for_update=True)
        if blob is None:
            blob = Blob(sha256=sha256, size=0, created_at=limit)
            session.add(blob)
            session.flush()
        reached = session.scalar(select(RepoBlob.repo_id).where(RepoBlob.sha256 == sha256).limit(1))
        if reached is not None or blob.created_at > limit:
            return False
        hub.blobs.delete(sha256)
        session.delete(blob)
        return True


def _forget_chunks(hub: Hub, removed: Container[str]) -> None:
    """Accounts that have chunks in removed blobs start afresh."""
    with hub.database.reading() as session:
        rows = session.execute(select(Xorb.account_id, Xorb.chunks))
        lost = {account for account, packed in rows if _lies_in(packed, removed)}
    for account in lost:
        start_afresh(hub, account)


def _lies_in(packed: bytes, removed: Container[str]) -> bool:
    return any(span.sha256 in removed for span in Chunks.unpack(packed).spans)


def _remove_uploads(hub: Hub, limit: datetime) -> int:
    """Remove parts and xorbs of uploads that were given up. Gives the number of files."""
    parts, xorbs = hub.blobs.staging / PARTS, hub.blobs.staging / "xorbs"
    with hub.database.writing() as session:
        old = session.scalars(select(Multipart).where(Multipart.created_at <= limit))
        for upload in [it for it in old if all(_is_old(path, limit) for path in files_of(hub, it.id))]:
            session.delete(upload)
        session.flush()
        kept = {
            path for upload_id in session.scalars(select(Multipart.id)) for path in files_of(hub, upload_id)
        }
    kept |= _keep_xorbs(hub, limit)
    gone = [path for path in [*_files(parts), *_files(xorbs)] if path not in kept and _is_old(path, limit)]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _keep_xorbs(hub: Hub, limit: datetime) -> set[Path]:
    """The files of xorbs that stay. Accounts that sent some and never made files of them start afresh."""
    with hub.database.reading() as session:
        busy = _busy(session)
        stored = select(Xorb.account_id, Xorb.hash, Xorb.created_at).where(Xorb.stored)
        rows = session.execute(stored).all()
    given_up = {account for account, _, since in rows if since <= limit and account not in busy}
    for account in given_up:
        start_afresh(hub, account)
    return {xorbs_folder(hub, account) / name for account, name, _ in rows if account not in given_up}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _is_old(path: Path, limit: datetime) -> bool:
    """Whether a file is not there, or was not written to since then."""
    try:
        return path.stat().st_mtime <= limit.timestamp()
    except FileNotFoundError:
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512  # parts have holes
    except FileNotFoundError:
        return 0
