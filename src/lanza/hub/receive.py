"""What a push brings, from its arrival to the moment when refs move.

The objects of a push are unpacked into a folder aside, by git's own `index-pack`, which checks each of them
(`fsck`) and that nothing is missing. Then what the new commits change is looked at: names that any system
would mistake, files that are too large for git, pointers to large files that this repository may not reach,
and what a policy refuses (`policy.py`).
Only when all is well do the objects join the repository's, and the refs move. A push that fails, or whose
client leaves, leaves nothing.

Anybody who may write may also rewrite: a branch may go back (`git push --force`), as on the public Hub, if it
is where the client saw it. Only branches and tags can be pushed, and main cannot be removed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import pygit2
from pygit2.enums import RepositoryOpenFlag, SortMode
from sqlalchemy import select

from lanza.database import Database
from lanza.errors import BadRequest, LanzaError
from lanza.hub.git import GitRepo
from lanza.hub.history import large_file
from lanza.hub.maintenance import INCOMING, tidy
from lanza.hub.names import check_path, check_ref_name
from lanza.hub.objects import Entry, Lfs, read_object
from lanza.hub.packs import Kind, sync_folder
from lanza.hub.policy import Policy, file_entry
from lanza.hub.programs import command, environment, run
from lanza.hub.records import Blob, RepoBlob
from lanza.hub.refs import BRANCH, MAIN, TAG, Move, writing
from lanza.hub.trees import DEEPEST, LINK, MODULE, Folders, Item, parse_tree

MOST_COMPLAINTS: Final = 10
EMPTY_PACK: Final = 32
"""Bytes of a pack without objects: a head and a checksum."""

LATE: Final = "somebody else was faster: fetch, and push again"
CHECK_SECONDS: Final = 600
AT_ONCE: Final = 500
"""Values in one SQL statement."""

Sizes = Callable[[Sequence[str]], Mapping[str, int]]
"""Gives the sizes of those large files, by their SHA-256, that the repository may reach."""


class Incoming:
    """The objects of one push, aside. To be closed, whatever happens."""

    def __init__(self, repo: GitRepo) -> None:
        self._repo = repo
        self._folder = repo.folder / f"{INCOMING}{secrets.token_hex(8)}"
        self._packs = self._folder / "pack"
        with writing(repo.folder):  # who prunes then sees it, and leaves alone what the push may build upon
            self._packs.mkdir(parents=True)
        self._variables = {
            "GIT_OBJECT_DIRECTORY": str(self._folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repo.folder / "objects"),
        }

    def unpacker(self, most: int) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of what takes a pack of up to `most` bytes from its input."""
        arguments = ["index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={most}"]
        return command("--git-dir", str(self._repo.folder), *arguments), environment(**self._variables)

    def complaints(
        self, moves: Sequence[Move], sizes: Sizes, policy: Policy, *, regular_bytes: int
    ) -> list[str]:
        """What speaks against the new commits, if anything. `regular_bytes` bounds what git keeps itself."""
        new = [move.new for move in moves if move.new is not None]
        if not new:
            return []
        if not self._connected(new):
            return ["objects are missing below the new commits: fetch, and push again."]
        git = pygit2.Repository(self._repo.folder, RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH)
        git.odb.add_disk_alternate(str(self._folder))
        for move in moves:
            if why := _wrong_target(git, move):
                return [why]
        look = _Look(git, regular_bytes, _trees_of(git, {BRANCH + MAIN, *(move.ref for move in moves)}))
        look.at(new)
        known = sizes([sha256 for sha256, _ in look.pointers])
        look.found += [
            f"{path}: the large file (SHA-256 {sha256}, {size:,} bytes) was not uploaded here. "
            "Run `git lfs push --all` first."
            for (sha256, size), path in look.pointers.items()
            if known.get(sha256) != size
        ]
        if look.found:
            return look.found[:MOST_COMPLAINTS]
        return policy.complaints(look.files(), lambda oid: read_object(git, bytes.fromhex(oid)))

    @property
    def size(self) -> int:
        """How many bytes the push brings."""
        return sum(pack.stat().st_size for pack in self._packs.glob("pack-*.pack"))

    def _connected(self, new: Sequence[str]) -> bool:
        """Whether all that the new commits need is there, as git itself asks before it moves a ref."""
        wanted = "".join(f"{oid}\n" for oid in new)
        done = run(
            self._repo.folder,
            ["rev-list", "--objects", "--stdin", "--not", "--all", "--quiet"],
            stdin=wanted.encode(),
            seconds=CHECK_SECONDS,
            variables=self._variables,
        )
        return done.returncode == 0

    def accept(self, moves: Sequence[Move], *, atomic: bool) -> dict[str, str]:
        """Make the objects the repository's, and move the refs. Gives why some did not, by ref."""
        refs = self._repo.refs
        with writing(self._repo.folder):
            refused = {move.ref: LATE for move in moves if refs.value(move.ref) != move.old}
            if refused and atomic:
                return {move.ref: LATE for move in moves}
            left = [move for move in moves if move.ref not in refused]
            if left:
                self._join()
            for group in [left] if atomic else [[move] for move in left]:
                try:
                    refs.move(group)
                except LanzaError as error:
                    refused |= {move.ref: error.message for move in group}
            tidy(self._repo.folder)
        return refused

    def _join(self) -> None:
        """Move the pack over, the index last: git looks for indexes."""
        target = self._repo.folder / "objects" / "pack"
        for pack in self._packs.glob("pack-*.pack"):
            if pack.stat().st_size <= EMPTY_PACK:
                continue
            for part in (pack, pack.with_suffix(".rev"), pack.with_suffix(".idx")):
                if part.exists():
                    part.rename(target / part.name)
        sync_folder(target)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def sizes_of(database: Database, repo_id: int, hashes: Sequence[str]) -> dict[str, int]:
    """The sizes of those large files that the repository may reach."""
    query = select(Blob.sha256, Blob.size).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    sizes: dict[str, int] = {}
    with database.reading() as session:
        for start in range(0, len(hashes), AT_ONCE):
            some = Blob.sha256.in_(hashes[start : start + AT_ONCE])
            for sha256, size in session.execute(query.where(RepoBlob.repo_id == repo_id, some)):
                sizes[sha256] = size
    return sizes


def wrong_moves(moves: Iterable[Move]) -> dict[str, str]:
    """Moves that no push may make: why, by ref."""
    return {move.ref: why for move in moves if (why := _wrong_move(move))}


def _wrong_move(move: Move) -> str | None:
    prefix = next((it for it in (BRANCH, TAG) if move.ref.startswith(it)), None)
    if prefix is None:
        return "only branches and tags can be pushed here"
    try:
        check_ref_name(move.ref.removeprefix(prefix))
    except BadRequest as error:
        return error.message
    if move.new is None and move.ref == BRANCH + MAIN:
        return f"the branch {MAIN} stays: every repository has one"
    if move.new is None and move.old is None:
        return "there is no such ref"
    return None


def _wrong_target(git: pygit2.Repository, move: Move) -> str | None:
    if move.new is None:
        return None
    found = git[move.new]
    if move.ref.startswith(BRANCH):
        return None if found.type_str == "commit" else f"{move.ref} must be a commit."
    try:
        found.peel(pygit2.Commit)
    except (pygit2.GitError, ValueError):
        return f"{move.ref} must lead to a commit."
    return None


def _trees_of(git: pygit2.Repository, refs: Iterable[str]) -> list[bytes]:
    """The files that refs lead to, of those that are there."""
    found = (git.references.get(ref) for ref in refs)
    return [ref.peel(pygit2.Tree).id.raw for ref in found if ref is not None]


class _Look:
    """A look at what new commits change.

    `found` are complaints; `pointers` are SHA-256 and size of large files, each with a path that has it.
    What the trees `old` have at the same path is not new, also where history is written anew.
    """

    def __init__(self, git: pygit2.Repository, regular_bytes: int, old: Sequence[bytes]) -> None:
        self._git = git
        self._regular_bytes = regular_bytes
        self._folders = Folders(partial(read_object, git))
        self._seen: set[bytes] = set()
        self._old = old
        self._merged: list[bytes] = []
        self._changed: dict[tuple[str, bytes], tuple[int, Lfs | None]] = {}
        self.found: list[str] = []
        self.pointers: dict[tuple[str, int], str] = {}

    def at(self, new: Sequence[str]) -> None:
        """Look at all commits that lead to `new` and that no ref has yet."""
        walker = self._git.walk(None, SortMode.NONE)
        for oid in new:
            walker.push(self._git[oid].peel(pygit2.Commit).id)
        for ref in self._git.listall_references():
            walker.hide(self._git.lookup_reference(ref).peel(pygit2.Commit).id)
        for commit in walker:
            parents = [parent.tree_id.raw for parent in commit.parents]
            self._merged = parents[1:]
            self._folder(commit.tree_id.raw, parents[0] if parents else None, "", 1)

    def files(self) -> Iterator[Entry]:
        """The files that the commits add or change, each content at each path once."""
        for (path, oid), (size, lfs) in self._changed.items():
            if not self._has_any(self._old, path, oid):
                yield file_entry(path, oid.hex(), size, lfs)

    def _folder(self, oid: bytes, base: bytes | None, prefix: str, depth: int) -> None:
        """Look at what differs between two folders. Each new one is looked at once."""
        if oid == base or oid in self._seen:
            return
        self._seen.add(oid)
        if depth > DEEPEST:
            self.found.append(f"{prefix}: lies in more than {DEEPEST} folders. Use fewer.")
            return
        before = self._folders.lines(base)
        for item in parse_tree(read_object(self._git, oid)):
            if len(self.found) >= MOST_COMPLAINTS:
                return
            if before.get(item.name) == item or (path := self._path(prefix, item.name)) is None:
                continue
            if item.is_folder:
                old = before.get(item.name)
                self._folder(item.oid, old.oid if old and old.is_folder else None, f"{path}/", depth + 1)
            elif item.mode == MODULE:
                self.found.append(f"{path}: submodules cannot be kept here. Commit its files instead.")
            else:
                self._file(item, path)

    def _path(self, prefix: str, name: bytes) -> str | None:
        """The checked path; None when there is something to complain about."""
        try:
            return check_path(prefix + name.decode())
        except UnicodeDecodeError:
            self.found.append(f"{prefix}{name.decode(errors='replace')}: the name is no UTF-8. Rename it.")
        except BadRequest as error:
            self.found.append(error.message)
        return None

    def _file(self, item: Item, path: str) -> None:
        kind, size = self._git.odb.read_header(pygit2.Oid(raw=item.oid))
        if Kind(kind) is not Kind.BLOB:
            self.found.append(f"{path}: is no file. Make the commit anew.")
        elif size > self._regular_bytes:
            self.found.append(
                f"{path}: git itself takes {self._regular_bytes:,} bytes here, and this file has {size:,}. "
                "Make it a large file: `git lfs migrate import --include=...`, and push again."
            )
        elif item.mode != LINK:
            large = large_file(self._git, item.oid, size)
            if large is not None:
                self.pointers.setdefault((large.sha256, large.size), path)
            if not self._has_any(self._merged, path, item.oid):
                self._changed[path, item.oid] = (size, large)

    def _has_any(self, trees: Sequence[bytes], path: str, oid: bytes) -> bool:
        """Whether one of the trees has this content at this path."""
        found = (self._folders.find(tree, path.encode()) for tree in trees)
        return any(item is not None and item.oid == oid for item in found)
