"""Looking at what a commit holds, for paths that come from outside."""

from __future__ import annotations

from typing import Final

from lanza.errors import BadRequest
from lanza.hub.git import GitRepo
from lanza.hub.names import check_path
from lanza.hub.objects import Commit, Entry

MOST_TEXT: Final = 2**24
"""Bytes beyond which a file is not read as text."""


def entry_at(git: GitRepo, commit: Commit, path: str) -> Entry | None:
    """What is at `path`. Nothing is at a path that no file may have."""
    try:
        check_path(path)
    except BadRequest:
        return None
    return git.entry(commit, path)


def text_at(git: GitRepo, commit: Commit, path: str) -> str:
    """The text of a file that is kept in git; empty when there is none, or when it is too long."""
    entry = entry_at(git, commit, path)
    if entry is None or entry.kind != "file" or entry.lfs or entry.size > MOST_TEXT:
        return ""
    return git.read(entry.oid).decode(errors="replace")


def is_text(sample: bytes) -> bool:
    """Whether a file that begins like this is text: UTF-8 without NUL, its last character maybe cut."""
    if b"\0" in sample:
        return False
    for cut in range(min(4, len(sample) + 1)):
        try:
            sample[: len(sample) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False
