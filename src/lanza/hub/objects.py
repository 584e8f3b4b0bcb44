"""What git keeps, as values: commits, what is in their folders, refs, and the pointers to large files.

They are read from what libgit2 gives, and written as bytes. What others have pushed may hold any bytes: names
and messages that are no UTF-8 are read with replacement characters, dates beyond the calendar as its ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import pygit2

LONGEST_POINTER: Final = 1024
"""Bytes beyond which git-lfs takes nothing for a pointer."""

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?:ext-[0-9]-[^\n]+\n)*"
    rb"oid sha256:([0-9a-f]{64})\n"
    rb"size ([0-9]{1,18})\n?"
)
_LAST_SECOND: Final = 253402300799  # of the year 9999


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """`title` is the message's first line, `message` what follows it. `author` is a name."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    title: str
    message: str
    author: str
    date: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Lfs:
    """A large file: its SHA-256 and size, and the size of the pointer that git keeps in its place."""

    sha256: str
    size: int
    pointer_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or a folder of a commit. `oid` is git's; `size` is the large file's where there is one.

    A symbolic link is a file that holds the path that it leads to.
    """

    path: str
    kind: Literal["file", "directory"]
    oid: str
    size: int
    lfs: Lfs | None
    mode: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ref:
    """A branch or a tag: `name` as people say it, `ref` as git does. `target` is a commit."""

    name: str
    ref: str
    target: str


def read_pointer(content: bytes) -> Lfs | None:
    """The large file that a file of git's stands for, or None when it stands for itself."""
    found = _POINTER.fullmatch(content) if len(content) <= LONGEST_POINTER else None
    if found is None:
        return None
    return Lfs(sha256=found[1].decode(), size=int(found[2]), pointer_size=len(content))


def write_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def read_object(git: pygit2.Repository, oid: bytes) -> bytes:
    """The bytes of a file or a folder, by its id."""
    return git.odb.read(pygit2.Oid(raw=oid))[1]


def read_commit(commit: pygit2.Commit) -> Commit:
    text = commit.raw_message.decode(errors="replace").strip("\n")
    title, _, message = text.partition("\n")
    return Commit(
        oid=str(commit.id),
        tree=str(commit.tree_id),
        parents=tuple(map(str, commit.parent_ids)),
        title=title.strip(),
        message=message.strip("\n"),
        author=commit.author.raw_name.decode(errors="replace"),
        date=datetime.fromtimestamp(min(max(commit.commit_time, 0), _LAST_SECOND), UTC),
    )


def write_commit(tree: str, parents: Sequence[str], *, author: str, time: int, message: str) -> bytes:
    """A commit as git keeps it; `message` is what `write_message` gives, `time` is in Unix seconds."""
    who = _signature(author, time)
    lines = [f"tree {tree}", *(f"parent {oid}" for oid in parents), f"author {who}", f"committer {who}"]
    return ("\n".join(lines) + f"\n\n{message}").encode(errors="replace")


def write_tag(name: str, commit: str, *, author: str, time: int, message: str) -> bytes:
    """An annotated tag as git keeps it."""
    lines = [f"object {commit}", "type commit", f"tag {name}", f"tagger {_signature(author, time)}"]
    return ("\n".join(lines) + f"\n\n{write_message(message)}").encode(errors="replace")


def write_message(title: str, description: str = "") -> str:
    """A commit's text: its first line, and after an empty one the rest. git takes no NUL there."""
    first, _, rest = title.replace("\0", " ").strip().partition("\n")
    parts = (rest.strip(), description.replace("\0", " ").strip())
    body = "\n\n".join(part for part in parts if part)
    return f"{first.strip() or 'Change files'}\n" + (f"\n{body}\n" if body else "")


def _signature(author: str, time: int) -> str:
    """Name, address and time, as commits have them. Where users have their mail is nobody's business."""
    name = re.sub(r"[\x00-\x1f\x7f<>]", "", author).strip(" .,:;\"'") or "unknown"
    address = re.sub(r"[^A-Za-z0-9._-]", "-", name)
    return f"{name} <{address}@users.lanza.invalid> {time} +0000"
