"""Folders as git keeps them (trees), and how changes make new ones of them.

A `Draft` is a commit's files while they are being changed. Only the folders on the way to a change are read,
and only those that differ in the end are written; changes apply in their order. Paths are checked here once
more, as the last gate before git has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from lanza.errors import BadRequest, EntryNotFound
from lanza.hub.names import check_path
from lanza.hub.packs import Kind, Pack, object_id

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
LINK: Final = 0o120000
FOLDER: Final = 0o040000
MODULE: Final = 0o160000

DEEPEST: Final = 128
"""How many folders may lie inside each other."""

MOST_LINES: Final = 400_000
"""Lines of folders that are kept in memory at once."""


@dataclass(frozen=True, slots=True)
class Put:
    """A file that git itself keeps."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class PutLarge:
    """A large file: git keeps a pointer to it."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A file whose content the repository has already: `oid` is git's, of a file of any commit."""

    path: str
    oid: str


@dataclass(frozen=True, slots=True)
class Delete:
    """The end of a file."""

    path: str


@dataclass(frozen=True, slots=True)
class DeleteFolder:
    """The end of a folder with all that is in it."""

    path: str


Change = Put | PutLarge | Copy | Delete | DeleteFolder


class Item(NamedTuple):
    """One line of a tree."""

    name: bytes
    mode: int
    oid: bytes

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER


def parse_tree(data: bytes) -> Iterator[Item]:
    """The lines of a tree. What git has accepted is well-formed."""
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        yield Item(data[space + 1 : end], int(data[at:space], 8), data[end + 1 : end + 21])
        at = end + 21


def encode_tree(items: Iterable[Item]) -> bytes:
    """A tree of these lines, in git's order: a folder's name counts as if it ended with a slash."""
    ordered = sorted(items, key=lambda item: item.name + b"/" if item.is_folder else item.name)
    return b"".join(b"%o %s\0%s" % (item.mode, item.name, item.oid) for item in ordered)


class Folders:
    """Folders that were read, by their ids, each line by its name. The oldest are forgotten.

    `read` gives a tree's bytes by its id; `lines_read` counts what that was worth.
    """

    def __init__(self, read: Callable[[bytes], bytes]) -> None:
        self._read = read
        self._known: dict[bytes, Mapping[bytes, Item]] = {}
        self._lines = 0
        self.lines_read = 0

    def lines(self, oid: bytes | None) -> Mapping[bytes, Item]:
        """What is in a folder; nothing is in none."""
        if oid is None:
            return {}
        if oid not in self._known:
            found = {item.name: item for item in parse_tree(self._read(oid))}
            while self._known and self._lines + len(found) > MOST_LINES:
                self._lines -= len(self._known.pop(next(iter(self._known))))
            self._known[oid] = found
            self._lines += len(found)
            self.lines_read += len(found)
        return self._known[oid]

    def find(self, root: bytes, path: bytes) -> Item | None:
        """What `path` leads to, below the folder `root`."""
        found: Item | None = Item(b"", FOLDER, root)
        for part in path.split(b"/") if path else ():
            if found is None or not found.is_folder:
                return None
            found = self.lines(found.oid).get(part)
        return found


class _Folder:
    """A folder that was opened: what is in it now, and its id when it was read."""

    __slots__ = ("inside", "oid")

    def __init__(self, oid: bytes | None, inside: dict[bytes, Item | _Folder]) -> None:
        self.oid = oid
        self.inside = inside

    @property
    def is_empty(self) -> bool:
        return all(isinstance(it, _Folder) and it.is_empty for it in self.inside.values())


class Draft:
    """The files of a commit, to be changed. `read` gives a tree's bytes by its id; `commit` is for errors."""

    def __init__(
        self, read: Callable[[bytes], bytes], root: bytes | None, *, commit: str | None = None
    ) -> None:
        self._read = read
        self._commit = commit
        self._root = self._open(root) if root else _Folder(None, {})

    def put(self, path: str, oid: bytes) -> None:
        """A file at `path`, the folders above it made. BadRequest where a file and a folder would clash."""
        parts = check_path(path).encode().split(b"/")
        if len(parts) > DEEPEST:
            raise BadRequest(f"{path!r} lies in more than {DEEPEST} folders: use fewer.")
        folder = self._root
        for depth, part in enumerate(parts[:-1]):
            found = self._step(folder, part)
            if isinstance(found, Item):
                above = b"/".join(parts[: depth + 1]).decode()
                raise BadRequest(f"{path!r} cannot be written, because {above!r} is a file: delete it first.")
            if found is None:
                found = folder.inside[part] = _Folder(None, {})
            folder = found
        before = self._step(folder, parts[-1])
        if isinstance(before, _Folder) and not before.is_empty:
            raise BadRequest(f"{path!r} cannot be written, because it is a folder: delete it first.")
        runs = isinstance(before, Item) and before.mode == EXECUTABLE
        folder.inside[parts[-1]] = Item(parts[-1], EXECUTABLE if runs else FILE, oid)

    def delete(self, path: str) -> None:
        """Take the file at `path` away. EntryNotFound."""
        folder, name = self._above(path)
        if folder is None or not isinstance(self._step(folder, name), Item):
            raise EntryNotFound(f"A file with the name {path!r} does not exist.", commit=self._commit)
        del folder.inside[name]

    def delete_folder(self, path: str) -> None:
        """Take the folder at `path` away. EntryNotFound."""
        path = path.rstrip("/")
        folder, name = self._above(path)
        found = None if folder is None else self._step(folder, name)
        if folder is None or not isinstance(found, _Folder) or found.is_empty:
            raise EntryNotFound(f"A folder with the name {path!r} does not exist.", commit=self._commit)
        del folder.inside[name]

    def write(self, pack: Pack) -> bytes:
        """Add the folders that are new to `pack`; gives the id of the root."""
        return self._write(self._root, pack)

    def _write(self, folder: _Folder, pack: Pack) -> bytes:
        items = []
        for name, it in folder.inside.items():
            if isinstance(it, Item):
                items.append(it)
            elif not it.is_empty:
                items.append(Item(name, FOLDER, self._write(it, pack)))
        content = encode_tree(items)
        oid = object_id(Kind.TREE, content)
        return oid if oid == folder.oid else pack.add(Kind.TREE, content)

    def _open(self, oid: bytes) -> _Folder:
        return _Folder(oid, {item.name: item for item in parse_tree(self._read(oid))})

    def _step(self, folder: _Folder, name: bytes) -> Item | _Folder | None:
        """What is called `name` in `folder`; a folder there is opened."""
        found = folder.inside.get(name)
        if isinstance(found, Item) and found.is_folder:
            found = folder.inside[name] = self._open(found.oid)
        return found

    def _above(self, path: str) -> tuple[_Folder | None, bytes]:
        """The folder that `path` lies in, if there is one, and its name there."""
        *above, name = path.encode(errors="replace").split(b"/")
        folder = self._root
        for part in above:
            found = self._step(folder, part)
            if not isinstance(found, _Folder):
                return None, name
            folder = found
        return folder, name
