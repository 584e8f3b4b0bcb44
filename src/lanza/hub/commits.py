"""Commits over the API: from what a client asks for to a commit in git, with all that may not be checked.

The model: small files come with the commit, large ones were uploaded before and are only named, by SHA-256. A
repository can name only blobs that somebody who may write there has shown to have (`RepoBlob`); a small file
that is itself a pointer to a large one counts as naming it. What a commit makes a large file,
`.gitattributes` says too, so that git with git-lfs sees the same files.

Answers get lost and clients repeat themselves: a commit that is the branch's head already is not made twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import BadRequest, Conflict, EntryNotFound, PreconditionFailed
from lanza.hub import catalog
from lanza.hub.access import find_repo
from lanza.hub.contents import MOST_TEXT, entry_at
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.objects import Commit, read_pointer
from lanza.hub.packs import Kind, object_id
from lanza.hub.patterns import with_large
from lanza.hub.policy import policy_of
from lanza.hub.records import Blob, Repo, RepoBlob
from lanza.hub.repos import check_room
from lanza.hub.trees import Change, Delete, DeleteFolder, Put, PutLarge

ATTRIBUTES: Final = ".gitattributes"
TRIES: Final = 10
"""How often a commit that names no parent is put on top of one that was faster."""

AT_ONCE: Final = 500
"""Values in one SQL statement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a commit says of itself. `parent` is where the client thinks that the branch is."""

    title: str
    description: str = ""
    parent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LargeFile:
    """A file whose content was uploaded before. Without a `size`, it is what the blob has."""

    path: str
    sha256: str
    size: int | None = None


Operation = Put | LargeFile | Delete | DeleteFolder


def apply(
    hub: Hub,
    caller: Principal,
    name: RepoName,
    revision: str,
    header: Header,
    operations: Sequence[Operation],
) -> Commit:
    """Commit to a branch. Every error leaves the branch as it was.

    BadRequest names the file that is wrong, PushRefused what a policy refuses; PreconditionFailed and
    Conflict say that somebody was faster.
    """
    branch = branch_of(revision)
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name, scope=Scope.WRITE)
        repo_id = repo.id
        changes = resolve_large(session, repo_id, operations)
        owner = session.get_one(Account, repo.owner_id)
        check_room(session, hub, owner, _growth(session, repo, changes))
        policy = policy_of(hub, owner)
    git = hub.git.open(repo_id)
    policy.check(git, git.resolve(f"refs/heads/{branch}"), changes)
    commit = _commit(git, branch, changes, header, author=caller.name)
    catalog.refresh(hub, repo_id)
    return commit


def branch_of(revision: str) -> str:
    """The branch that a revision names. BadRequest for a pull request, which this server does not have."""
    if revision.startswith("refs/pr/"):
        raise BadRequest("there are no pull requests on this server: commit to a branch.")
    return revision.removeprefix("refs/heads/")


def resolve_large(session: Session, repo_id: int, operations: Sequence[Operation]) -> list[Change]:
    """The changes for git. BadRequest names a large file that the repository does not have."""
    named = [_named(operation) for operation in operations]
    sizes = _sizes(session, repo_id, {each.sha256 for each in named if isinstance(each, LargeFile)})
    return [_large(each, sizes) if isinstance(each, LargeFile) else each for each in named]


def _named(operation: Operation) -> Operation:
    """A pointer that comes as a small file is a large file."""
    if isinstance(operation, Put) and (lfs := read_pointer(operation.content)):
        return LargeFile(path=operation.path, sha256=lfs.sha256, size=lfs.size)
    return operation


def _large(file: LargeFile, sizes: Mapping[str, int]) -> PutLarge:
    size = sizes.get(file.sha256)
    if size is None:
        raise BadRequest(
            f"{file.path!r} is a large file, and its content (SHA-256 {file.sha256}) was not uploaded to "
            "this repository: upload it first, with an `hf upload` of the file or `git lfs push`."
        )
    if file.size not in (None, size):
        raise BadRequest(f"{file.path!r} is said to have {file.size} bytes: its content here has {size}.")
    return PutLarge(path=file.path, sha256=file.sha256, size=size)


def _sizes(session: Session, repo_id: int, hashes: Iterable[str]) -> dict[str, int]:
    """The sizes of those blobs that the repository may reach."""
    asked = sorted(hashes)
    query = select(Blob.sha256, Blob.size).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    sizes: dict[str, int] = {}
    for start in range(0, len(asked), AT_ONCE):
        some = Blob.sha256.in_(asked[start : start + AT_ONCE])
        found = session.execute(query.where(RepoBlob.repo_id == repo_id, some))
        sizes |= {blob.sha256: blob.size for blob in found}
    return sizes


def _growth(session: Session, repo: Repo, changes: Sequence[Change]) -> int:
    """The bytes that come with the changes, and those of large files that came since the last commit."""
    small = sum(len(change.content) for change in changes if isinstance(change, Put))
    sizes = select(func.coalesce(func.sum(Blob.size), 0)).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    new = sizes.where(RepoBlob.repo_id == repo.id, RepoBlob.created_at > repo.updated_at)
    return small + int(session.scalar(new) or 0)


def _commit(git: GitRepo, branch: str, changes: Sequence[Change], header: Header, *, author: str) -> Commit:
    for _ in range(TRIES):
        head = git.resolve(f"refs/heads/{branch}")
        if header.parent and not head.oid.startswith(header.parent.lower()):
            if is_repeated(git, head, changes, header, author=author):
                return head
            raise PreconditionFailed("A commit has happened since. Please refresh and try again.")
        try:
            return git.commit(
                branch,
                with_attributes(git, head, changes),
                author=author,
                title=header.title,
                description=header.description,
                parent=head.oid,
            )
        except (PreconditionFailed, Conflict):
            if header.parent:
                raise
        except EntryNotFound:
            if is_repeated(git, head, changes, header, author=author):
                return head
            raise
    raise Conflict(f"other commits to {branch!r} were faster {TRIES} times: try again.")


def with_attributes(git: GitRepo, head: Commit, changes: Sequence[Change]) -> Sequence[Change]:
    """The changes, and `.gitattributes` with a line for every new large file that it does not cover."""
    large = [change.path for change in changes if isinstance(change, PutLarge)]
    before = _attributes(git, head, changes) if large else None
    if before is None:
        return changes
    after = with_large(before, large)
    return changes if after == before else [*changes, Put(path=ATTRIBUTES, content=_bytes(after))]


def _attributes(git: GitRepo, head: Commit, changes: Sequence[Change]) -> str | None:
    """What `.gitattributes` would say after the changes; None when it is nothing that one can add to."""
    for change in reversed(changes):
        if change.path == ATTRIBUTES and isinstance(change, Put):
            return _text(change.content)
        if change.path == ATTRIBUTES:
            return "" if _deletes(change) else None
    entry = entry_at(git, head, ATTRIBUTES)
    if entry is None:
        return ""
    if entry.kind != "file" or entry.lfs or entry.size > MOST_TEXT:
        return None
    return _text(git.read(entry.oid))


def is_repeated(
    git: GitRepo, head: Commit, changes: Sequence[Change], header: Header, *, author: str
) -> bool:
    """Whether `head` is what these changes made, when the client sent them before."""
    said = (head.title, head.message, head.author) == (header.title, header.description, author)
    if not said or len(head.parents) != 1:
        return False
    if header.parent and not head.parents[0].startswith(header.parent.lower()):
        return False
    last = {change.path: change for change in changes}
    before = git.resolve(head.parents[0])
    return all(_is_done(git, before, head, change) for change in last.values())


def _is_done(git: GitRepo, before: Commit, after: Commit, change: Change) -> bool:
    entry = git.entry(after, change.path)
    if _deletes(change):
        return git.entry(before, change.path) is not None and (entry is None or entry.kind == "directory")
    if entry is None or entry.kind != "file":
        return False
    if isinstance(change, PutLarge):
        return entry.lfs is not None and entry.lfs.sha256 == change.sha256
    return isinstance(change, Put) and (
        change.path == ATTRIBUTES or entry.oid == object_id(Kind.BLOB, change.content).hex()
    )


def _deletes(change: Change) -> bool:
    return isinstance(change, Delete | DeleteFolder)


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
