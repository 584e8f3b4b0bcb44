"""Branches and tags: what they are called, where they point, and how they move.

One process at a time writes to a repository: it holds a lock of the operating system, which ends with the
process however that ends. Refs themselves are git's, moved under git's own lock on each, so that programs of
git may look on and even write. A lock of git's that is found while ours is held was left by a process that
was killed, and is taken away once it is old.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import pygit2

from lanza.errors import BadRequest, Conflict, RepoNotFound, RevisionNotFound, StorageFull, Unavailable
from lanza.hub.objects import Ref

MAIN: Final = "main"
BRANCH: Final = "refs/heads/"
TAG: Final = "refs/tags/"

PATIENCE: Final = 60.0
"""Seconds that a writer waits for the one before it."""

STALE: Final = 5.0
"""Seconds after which one of git's own locks belongs to nobody: it is held for one small file."""

_LOCK: Final = "lanza.lock"
_OID: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Move:
    """A ref that shall point from `old` to `new`; None is where it does not exist."""

    ref: str
    old: str | None
    new: str | None


class Refs:
    """The refs of one repository."""

    def __init__(self, git: pygit2.Repository, folder: Path) -> None:
        self._git = git
        self._folder = folder

    def target(self, ref: str) -> str | None:
        """The commit that `ref` leads to, through a tag's own object too; None when there is none."""
        try:
            return str(self._git.lookup_reference(ref).peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def value(self, ref: str) -> str | None:
        """What `ref` holds: a commit's id, or an annotated tag's own."""
        try:
            return str(self._git.lookup_reference(ref).resolve().target)
        except (KeyError, ValueError):
            return None

    def values(self) -> list[tuple[str, str]]:
        """Every ref and what it holds."""
        found = ((ref, self.value(ref)) for ref in sorted(self._git.listall_references()))
        return [(ref, value) for ref, value in found if value is not None]

    def branches(self) -> list[Ref]:
        return self._below(BRANCH)

    def tags(self) -> list[Ref]:
        return self._below(TAG)

    def _below(self, prefix: str) -> list[Ref]:
        names = sorted(ref for ref in self._git.listall_references() if ref.startswith(prefix))
        targets = ((ref, self.target(ref)) for ref in names)
        return [Ref(name=ref.removeprefix(prefix), ref=ref, target=oid) for ref, oid in targets if oid]

    def move(self, moves: Sequence[Move]) -> None:
        """Move all, or none if one is no longer at its `old`: Conflict. To be called while `writing`.

        A name that lies within another (`a` and `a/b`) is a Conflict too.
        """
        for move in moves:
            if move.old is None:
                self._check_room(move.ref)
            self._break_stale_lock(move.ref)
        try:
            with self._git.transaction() as transaction:
                for move in moves:
                    transaction.lock_ref(move.ref)
                    if self.value(move.ref) != move.old:
                        raise Conflict(
                            f"{move.ref} was moved by somebody else meanwhile: fetch, and try again."
                        )
                    if move.new is None:
                        transaction.remove(move.ref)
                    else:
                        transaction.set_target(move.ref, move.new)
        except pygit2.GitError as error:
            if "No space left" in str(error):
                raise StorageFull("the server's disk is full: the branch is where it was.") from error
            raise Conflict(
                f"{', '.join(move.ref for move in moves)} cannot be moved now: {error}."
            ) from error

    def _check_room(self, ref: str) -> None:
        for other in self._git.listall_references():
            if other.startswith(f"{ref}/") or ref.startswith(f"{other}/"):
                raise Conflict(f"{ref} cannot be made beside {other}: one lies within the other.")

    def _break_stale_lock(self, ref: str) -> None:
        lock = self._folder / f"{ref}.lock"
        until = time.monotonic() + STALE
        while lock.exists():
            if time.monotonic() > until or _age(lock) > STALE:
                lock.unlink(missing_ok=True)
                return
            time.sleep(0.01)


def peek(folder: Path, ref: str) -> str | None:
    """What `ref` holds in the repository in `folder`, from its file alone: without opening the repository.

    None when there is no such file; then the ref may be among those that git has packed.
    """
    try:
        held = (folder / ref).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return held if _OID.fullmatch(held) else None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one that writes to the repository in `folder`. Unavailable when others take too long."""
    try:
        lock = (folder / _LOCK).open("ab")
    except FileNotFoundError:
        raise RepoNotFound("this repository was removed meanwhile.") from None
    with lock as file:
        until = time.monotonic() + PATIENCE
        while not _try_lock(file):
            if time.monotonic() > until:
                raise Unavailable("somebody else is writing to this repository: try again.", retry_after=5)
            time.sleep(0.005)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    """Whether this process has the lock now. It is held until `file` is closed, or the process ends."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def branch_name(revision: str) -> str:
    """`main` of `main` or `refs/heads/main`."""
    return revision.removeprefix(BRANCH)


def refuse_main(name: str) -> None:
    if name == MAIN:
        raise BadRequest(f"the branch {MAIN} stays: every repository has one.")


def missing_branch(name: str) -> RevisionNotFound:
    return RevisionNotFound(f"there is no branch {name!r} here: make it first, or write to {MAIN!r}.")
