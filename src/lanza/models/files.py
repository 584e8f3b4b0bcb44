"""The files of a model folder, by relative path and size.

Links to folders are not followed, and neither are the folders that tools keep for themselves. The
listing stops at ``MOST_FILES``: a model has dozens of files, and a home directory given by mistake
should not be walked to its end.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lanza.errors import ModelError

MOST_FILES = 5_000
DEEPEST = 6
SKIPPED_FOLDERS = frozenset({".git", ".cache", ".venv", "__pycache__", "node_modules"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFact:
    """One file: ``path`` is relative with forward slashes, ``size`` in bytes (of a link's target).

    Not ``is_regular``: a pipe or a device, or a link to one, to a folder or to nothing. It is never opened.
    """

    path: str
    size: int
    is_link: bool = False
    is_regular: bool = True


def require_folder(path: Path) -> None:
    """Raise ModelError unless ``path`` is a folder that can be read."""
    if not os.path.exists(path):  # noqa: PTH110 (pathlib raises where a name is too long)
        raise ModelError(f"There is nothing at {path}: check the path, or give a model folder's.")
    if not path.is_dir():
        raise ModelError(f"{path} is a file: give the folder that holds it, with its config.json.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ModelError(f"{path} cannot be read by this user: change its permissions, or run as its owner.")


def list_files(root: Path) -> tuple[FileFact, ...]:
    """Every file below ``root``, sorted by path, at most ``MOST_FILES``."""
    found: list[FileFact] = []
    for file in _walk(root, prefix="", depth=0):
        found.append(file)
        if len(found) == MOST_FILES:
            break
    return tuple(sorted(found, key=lambda file: file.path))


def _walk(folder: Path, *, prefix: str, depth: int) -> Iterator[FileFact]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # an unreadable folder below the root holds nothing that we can serve
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth < DEEPEST and entry.name not in SKIPPED_FOLDERS:
                yield from _walk(Path(entry.path), prefix=f"{name}/", depth=depth + 1)
        else:
            yield _file(entry, name)


def _file(entry: os.DirEntry[str], name: str) -> FileFact:
    try:
        status = entry.stat()
    except OSError:  # a dangling link, or one that turns in a circle
        return FileFact(path=name, size=0, is_link=entry.is_symlink(), is_regular=False)
    regular = stat.S_ISREG(status.st_mode)
    size = status.st_size if regular else 0
    return FileFact(path=name, size=size, is_link=entry.is_symlink(), is_regular=regular)
