"""The git repositories of the Hub: real objects, so that history, branches and `git clone` are true.

The model: each repository is a bare one in a folder named by its number in the database, so that moving it
renames nothing. Large files are in it as pointers. Commits are made here; what git clients push comes in by
`receive.py`. Reading goes through libgit2. Writing is one process at a time for each repository (`refs.py`):
objects first, on the disk before a ref moves (`packs.py`). This module knows neither accounts nor blobs.
"""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

import pygit2
from pygit2.enums import RepositoryOpenFlag

from lanza.errors import Conflict, EntryNotFound, PreconditionFailed, RepoNotFound, RevisionNotFound
from lanza.hub import bare, history
from lanza.hub.history import Survey
from lanza.hub.maintenance import tidy
from lanza.hub.names import check_ref_name
from lanza.hub.objects import (
    Commit,
    Entry,
    Lfs,
    Ref,
    read_commit,
    read_object,
    write_commit,
    write_message,
    write_pointer,
    write_tag,
)
from lanza.hub.packs import Kind, Pack
from lanza.hub.patterns import LARGE
from lanza.hub.refs import (
    BRANCH,
    MAIN,
    TAG,
    Move,
    Refs,
    branch_name,
    missing_branch,
    peek,
    refuse_main,
    writing,
)
from lanza.hub.trees import (
    LINK,
    MODULE,
    Change,
    Copy,
    Delete,
    DeleteFolder,
    Draft,
    Folders,
    Item,
    Put,
    PutLarge,
    parse_tree,
)

__all__ = [
    "Change",
    "Commit",
    "Copy",
    "Delete",
    "DeleteFolder",
    "Entry",
    "GitRepo",
    "GitStore",
    "Lfs",
    "Put",
    "PutLarge",
    "Ref",
]

LARGE_FILES: Final = (
    *("7z", "arrow", "bin", "bz2", "ckpt", "ftz", "gguf", "gz", "h5", "joblib", "lfs.*", "mlmodel", "model"),
    *("msgpack", "npy", "npz", "onnx", "ot", "parquet", "pb", "pickle", "pkl", "pt", "pth", "rar"),
    *("safetensors", "tar", "tar.*", "tflite", "tgz", "wasm", "xz", "zip", "zst"),
)
"""Which files a new repository keeps as large ones, by what follows the last dot."""

MOST_PROGRAMS: Final = 32
"""How many of git's own programs serve clients at once."""

_HEX: Final = re.compile(r"[0-9a-f]{7,40}")


class GitStore:
    """All repositories, below the folder `root`.

    `clock` gives the time of new commits; `programs` counts what runs for git clients.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self.programs = BoundedSemaphore(MOST_PROGRAMS)
        # libgit2 syncs refs only when it is told to, once for the whole process.
        pygit2.settings.enable_fsync_gitdir(True)

    def folder(self, repo_id: int) -> Path:
        return self.root / str(repo_id // 1000) / f"{repo_id}.git"

    def create(self, repo_id: int, *, author: str) -> GitRepo:
        """A new repository, with a first commit on main. What lay there belonged to nobody any more."""
        with bare.making(self.folder(repo_id)) as folder:
            repo = GitRepo(folder, clock=self._clock)
            repo.begin([Put(".gitattributes", _attributes())], author=author, title="initial commit")
        return self.open(repo_id)

    def open(self, repo_id: int) -> GitRepo:
        """RepoNotFound when its folder is missing."""
        return GitRepo(self.folder(repo_id), clock=self._clock)

    def main(self, repo_id: int) -> str | None:
        """The commit that main is at; None when there is no such repository, or it is damaged."""
        held = peek(self.folder(repo_id), BRANCH + MAIN)
        try:
            return held or self.open(repo_id).refs.target(BRANCH + MAIN)
        except RepoNotFound:
            return None

    def remove(self, repo_id: int) -> None:
        """Remove a repository with its history. Nothing happens when there is none."""
        bare.remove(self.folder(repo_id))

    def numbers(self, *, older_than: float = 0) -> list[int]:
        """The numbers of all repositories whose folder nobody has touched for so many seconds."""
        oldest = time.time() - older_than
        folders = (path for path in self.root.glob("*/*.git") if bare.changed_at(path) <= oldest)
        return sorted(int(path.stem) for path in folders if path.stem.isdecimal())

    def copy(self, from_id: int, to_id: int) -> GitRepo:
        """A repository like another, with all of its history."""
        source = self.open(from_id).folder
        with bare.making(self.folder(to_id)) as folder, writing(source):
            bare.replicate(source, folder)
        return self.open(to_id)


class GitRepo:
    """One repository, for one request and one thread. Revisions are branches, tags, commits or refs."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        self._open()

    def _open(self) -> None:
        flags = RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH
        try:
            self._git = pygit2.Repository(self.folder, flags)
        except pygit2.GitError as error:
            raise RepoNotFound(f"the server has no files of this repository: {error}.") from error
        # pygit2's repository refers to itself: without this, its files stay open until garbage is collected.
        weakref.finalize(self, self._git.free)
        self._folders = Folders(partial(read_object, self._git))
        self.refs = Refs(self._git, self.folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be the only one that writes, and see the repository as it is now.

        What libgit2 has opened before it goes on to see, though it may have been pruned meanwhile.
        """
        with writing(self.folder):
            self._open()
            yield

    # Reading

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, a tag, an id (from 7 digits) or a full ref names. RevisionNotFound."""
        oid = self._find(revision)
        if oid is None:
            raise RevisionNotFound(f"there is no branch, tag or commit {revision!r} in this repository.")
        return read_commit(self._commit(oid))

    def entries(self, commit: Commit, path: str = "", *, recursive: bool) -> Iterator[Entry]:
        """What is in a folder, in git's order; with `recursive`, each folder is followed by what is in it.

        EntryNotFound when there is no such folder.
        """
        found = self._item(commit, path)
        if found is None or not found.is_folder:
            raise EntryNotFound(f"there is no folder {path!r} at {commit.oid[:7]}.", commit=commit.oid)
        return self._entries(found.oid, f"{path}/" if path else "", recursive=recursive)

    def entry(self, commit: Commit, path: str) -> Entry | None:
        """The file or folder at `path`, or None."""
        found = self._item(commit, path)
        return self._entry(found, path) if found is not None and found.mode != MODULE else None

    def read(self, oid: str) -> bytes:
        """The bytes of a file that git keeps, by an entry's `oid`; of a large file, its pointer."""
        return read_object(self._git, bytes.fromhex(oid))

    def last_changes(self, commit: Commit, paths: Iterable[str]) -> Mapping[str, Commit]:
        """The commit that changed each path last. Those whose change lies far back are left out."""
        return history.last_changes(self._git, commit.oid, paths)

    def log(self, commit: Commit, *, skip: int = 0, limit: int) -> list[Commit]:
        """The history of a commit, itself first."""
        return history.log(self._git, commit.oid, skip=skip, limit=limit)

    def survey(self) -> Survey:
        """What all refs together lead to. KeyError, pygit2.GitError when something of that is missing."""
        return history.survey(self._git, [value for _, value in self.refs.values()])

    def branches(self) -> list[Ref]:
        return self.refs.branches()

    def tags(self) -> list[Ref]:
        return self.refs.tags()

    # Writing

    def commit(
        self,
        branch: str,
        changes: Sequence[Change],
        *,
        author: str,
        title: str,
        description: str = "",
        parent: str | None = None,
    ) -> Commit:
        """Put one commit on a branch; durable when this returns. One that changes nothing is not made.

        RevisionNotFound for a branch that does not exist, PreconditionFailed when its head is not `parent`
        (an id, or its first 7 digits and more), BadRequest and EntryNotFound for changes that cannot be.
        """
        with self._writing():
            head = self._head(branch)
            if parent is not None and not _means(parent, head.oid):
                raise PreconditionFailed("A commit has happened since. Please refresh and try again.")
            pack = Pack()
            tree = self._apply(changes, pack, head)
            if tree == head.tree:
                return head
            text = write_message(title, description)
            oid = self._add_commit(pack, tree, [head.oid], author=author, message=text)
            self._publish(pack, Move(BRANCH + branch_name(branch), head.oid, oid))
        return self.resolve(oid)

    def begin(self, changes: Sequence[Change], *, author: str, title: str) -> None:
        """The first commit of a repository that has none."""
        pack = Pack()
        tree = self._apply(changes, pack, None)
        oid = self._add_commit(pack, tree, [], author=author, message=write_message(title))
        self._publish(pack, Move(BRANCH + MAIN, None, oid))

    def squash(self, branch: str, message: str, author: str) -> Commit:
        """Make a branch's history one commit, with the files as they are. RevisionNotFound."""
        with self._writing():
            head = self._head(branch)
            pack = Pack()
            oid = self._add_commit(pack, head.tree, [], author=author, message=write_message(message))
            self._publish(pack, Move(BRANCH + branch_name(branch), head.oid, oid))
        return self.resolve(oid)

    def create_branch(self, name: str, start: str = MAIN) -> None:
        """Conflict when it exists, RevisionNotFound when `start` does not."""
        with self._writing():
            target = self.resolve(start).oid
            self._create(BRANCH + check_ref_name(name), target)

    def delete_branch(self, name: str) -> None:
        """RevisionNotFound; BadRequest for main."""
        refuse_main(branch_name(name))
        self._delete(BRANCH + branch_name(name))

    def create_tag(
        self, name: str, target: str = MAIN, message: str | None = None, *, author: str = ""
    ) -> None:
        """A tag for a revision; with a message, an object of its own. Conflict, RevisionNotFound."""
        with self._writing():
            oid = self.resolve(target).oid
            check_ref_name(name)
            if message:
                pack = Pack()
                seconds = int(self._clock())
                content = write_tag(name, oid, author=author, time=seconds, message=message)
                oid = pack.add(Kind.TAG, content).hex()
                pack.write(self.folder / "objects")
            self._create(TAG + name, oid)

    def delete_tag(self, name: str) -> None:
        """RevisionNotFound."""
        self._delete(TAG + name.removeprefix(TAG))

    def _create(self, ref: str, target: str) -> None:
        if self.refs.value(ref) is not None:
            raise Conflict(f"{ref.split('/', 2)[2]!r} exists already (as {ref}).")
        self.refs.move([Move(ref, None, target)])

    def _delete(self, ref: str) -> None:
        with self._writing():
            value = self.refs.value(ref)
            if value is None:
                raise RevisionNotFound(f"there is no {ref} in this repository.")
            self.refs.move([Move(ref, value, None)])

    def _publish(self, pack: Pack, move: Move) -> None:
        """Objects first: a ref that leads to nothing would break the repository."""
        pack.write(self.folder / "objects")
        self.refs.move([move])
        tidy(self.folder)

    # How a commit is put together

    def _apply(self, changes: Sequence[Change], pack: Pack, head: Commit | None) -> str:
        """The tree after the changes, its new objects added to `pack`."""
        root, at = (bytes.fromhex(head.tree), head.oid) if head else (None, None)
        draft = Draft(partial(read_object, self._git), root, commit=at)
        for change in changes:
            match change:
                case Put(path, content):
                    draft.put(path, pack.add(Kind.BLOB, content))
                case PutLarge(path, sha256, size):
                    draft.put(path, pack.add(Kind.BLOB, write_pointer(sha256, size)))
                case Copy(path, oid):
                    draft.put(path, self._existing(oid, path))
                case Delete(path):
                    draft.delete(path)
                case DeleteFolder(path):
                    draft.delete_folder(path)
        return draft.write(pack).hex()

    def _existing(self, oid: str, path: str) -> bytes:
        found = self._git.odb.exists(oid) and Kind(self._git.odb.read_header(oid)[0]) is Kind.BLOB
        if not found:
            raise EntryNotFound(f"{path!r} cannot be copied: there is no file {oid} in this repository.")
        return bytes.fromhex(oid)

    def _add_commit(self, pack: Pack, tree: str, parents: Sequence[str], *, author: str, message: str) -> str:
        content = write_commit(tree, parents, author=author, time=int(self._clock()), message=message)
        return pack.add(Kind.COMMIT, content).hex()

    # What libgit2 has

    def _find(self, revision: str) -> str | None:
        if len(revision) == 40 and _HEX.fullmatch(revision):
            return revision if self._is_commit(revision) else None
        for ref in (BRANCH + revision, TAG + revision, revision):
            # Only full names: git's other ways to name a commit are not for strangers.
            whole = ref.startswith("refs/") or ref == "HEAD"
            if whole and (oid := self.refs.target(ref)) is not None:
                return oid
        return self._expand(revision) if _HEX.fullmatch(revision) else None

    def _expand(self, digits: str) -> str | None:
        try:
            oid = str(self._git.expand_id(digits))
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return oid if self._is_commit(oid) else None

    def _is_commit(self, oid: str) -> bool:
        return oid in self._git and self._git[oid].type_str == "commit"

    def _commit(self, oid: str) -> pygit2.Commit:
        return self._git[oid].peel(pygit2.Commit)

    def _head(self, branch: str) -> Commit:
        oid = self.refs.target(BRANCH + branch_name(branch))
        if oid is None:
            raise missing_branch(branch_name(branch))
        return read_commit(self._commit(oid))

    def _item(self, commit: Commit, path: str) -> Item | None:
        return self._folders.find(bytes.fromhex(commit.tree), path.encode(errors="replace"))

    def _entries(self, root: bytes, prefix: str, *, recursive: bool) -> Iterator[Entry]:
        for item in parse_tree(read_object(self._git, root)):
            if item.mode == MODULE:
                continue
            path = prefix + item.name.decode(errors="replace")
            yield self._entry(item, path)
            if recursive and item.is_folder:
                yield from self._entries(item.oid, f"{path}/", recursive=True)

    def _entry(self, item: Item, path: str) -> Entry:
        oid = item.oid.hex()
        if item.is_folder:
            return Entry(path=path, kind="directory", oid=oid, size=0, lfs=None, mode=item.mode)
        size = self._git.odb.read_header(oid)[1]
        lfs = None if item.mode == LINK else history.large_file(self._git, item.oid, size)
        return Entry(path=path, kind="file", oid=oid, size=lfs.size if lfs else size, lfs=lfs, mode=item.mode)


def _attributes() -> bytes:
    patterns = [*(f"*.{ending}" for ending in LARGE_FILES), "saved_model/**/*", "*tfevents*"]
    return "".join(f"{pattern} {LARGE}\n" for pattern in patterns).encode()


def _means(parent: str, oid: str) -> bool:
    return _HEX.fullmatch(parent.lower()) is not None and oid.startswith(parent.lower())
