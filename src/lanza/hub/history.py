"""How a commit came to be: the commits before it, what changed a file last, which large files it ever held.

Reads only, over libgit2. History is followed along first parents where there is a choice: what a merge
brought counts as changed by the merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import pygit2
from pygit2.enums import SortMode

from lanza.hub.objects import LONGEST_POINTER, Commit, Lfs, read_commit, read_object, read_pointer
from lanza.hub.trees import LINK, MODULE, Folders, parse_tree

FARTHEST: Final = 10_000
"""Commits that are looked at to find what changed a file last."""

MOST_LINES: Final = 3_000_000
"""Lines of folders that are read for that. Wide folders with a long history end sooner."""


def log(git: pygit2.Repository, oid: str, *, skip: int, limit: int) -> list[Commit]:
    """`limit` of the commits that lead to `oid`, the newest first, without the first `skip`."""
    walker = git.walk(oid, SortMode.TOPOLOGICAL | SortMode.TIME)
    return [read_commit(commit) for commit in islice(walker, skip, skip + limit)]


def last_changes(git: pygit2.Repository, oid: str, paths: Iterable[str]) -> dict[str, Commit]:
    """For each path that the commit has, the commit that changed it last.

    A path whose last change lies beyond `FARTHEST` commits or `MOST_LINES` is left out.
    """
    found: dict[str, Commit] = {}
    commit = git[oid].peel(pygit2.Commit)
    wanted = _by_folder(paths)
    folders = Folders(partial(read_object, git))
    for _ in range(FARTHEST):
        parent = commit.parents[0] if commit.parent_ids else None
        for folder, names in list(wanted.items()):
            changed = _changed(folders, commit, parent, folder, names)
            if changed:
                made = read_commit(commit)
                found |= {_joined(folder, name): made for name in changed}
            wanted[folder] = names - changed
        wanted = {folder: names for folder, names in wanted.items() if names}
        if parent is None or not wanted or folders.lines_read > MOST_LINES:
            break
        commit = parent
    return found


def _by_folder(paths: Iterable[str]) -> dict[bytes, set[bytes]]:
    wanted: dict[bytes, set[bytes]] = {}
    for path in paths:
        folder, _, name = path.encode(errors="replace").rpartition(b"/")
        wanted.setdefault(folder, set()).add(name)
    return wanted


def _joined(folder: bytes, name: bytes) -> str:
    return (folder + b"/" + name if folder else name).decode(errors="replace")


def _changed(
    folders: Folders, commit: pygit2.Commit, parent: pygit2.Commit | None, path: bytes, names: set[bytes]
) -> set[bytes]:
    """Those of `names` in the folder `path` that are in `commit`, and not the same in `parent`."""
    now, before = _folder(folders, commit, path), _folder(folders, parent, path)
    if now == before:
        return set()
    new, old = folders.lines(now), folders.lines(before)
    return {name for name in names if name in new and new[name] != old.get(name)}


def _folder(folders: Folders, commit: pygit2.Commit | None, path: bytes) -> bytes | None:
    """The tree of the folder at `path`, or None."""
    found = folders.find(commit.tree_id.raw, path) if commit else None
    return found.oid if found and found.is_folder else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What a repository holds: `large` are the SHA-256 of all large files that a commit on a ref names.

    `strays` says whether there are objects that no ref leads to.
    """

    large: frozenset[str]
    strays: bool


def survey(git: pygit2.Repository, refs: Iterable[str]) -> Survey:
    """Look at all that `refs` lead to, given by what they hold: commits, or tags of their own."""
    walker = git.walk(None, SortMode.NONE)
    seen: set[bytes] = set()
    for oid in refs:
        found = git[oid]
        while isinstance(found, pygit2.Tag):
            seen.add(found.id.raw)
            found = git[found.target]
        walker.push(found.id)
    large: set[str] = set()
    for commit in walker:
        seen.add(commit.id.raw)
        large.update(lfs.sha256 for lfs in _pointers_in(git, commit.tree_id.raw, seen))
    return Survey(large=frozenset(large), strays=any(oid.raw not in seen for oid in git.odb))


def _pointers_in(git: pygit2.Repository, root: bytes, seen: set[bytes]) -> Iterator[Lfs]:
    waiting = [root]
    while waiting:
        tree = waiting.pop()
        if tree in seen:
            continue
        seen.add(tree)
        for item in parse_tree(read_object(git, tree)):
            if item.is_folder:
                waiting.append(item.oid)
            elif item.mode != MODULE and item.oid not in seen:
                seen.add(item.oid)
                if item.mode == LINK:
                    continue
                size = git.odb.read_header(pygit2.Oid(raw=item.oid))[1]
                if (large := large_file(git, item.oid, size)) is not None:
                    yield large


def large_file(git: pygit2.Repository, oid: bytes, size: int) -> Lfs | None:
    """The large file that the blob `oid`, of `size` bytes, is a pointer to, or None."""
    if size > LONGEST_POINTER:
        return None
    return read_pointer(read_object(git, oid))
