"""Addresses of Unix sockets, which have at most 107 bytes, however deep the data folder lies.

Where the path is too long, a symbolic link to the folder is made in a folder of our own under /tmp, which
nobody else may write to.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from lanza.errors import UsageError

LONGEST: Final = 107
_NAMES: Final = len("/0123456789abcdef/s")
"""A replica's folder and its socket, below the folder of all."""


def short_path(run: Path) -> Path:
    """A path to the folder `run` that leaves room for the sockets below it. UsageError when there is none."""
    if _fits(run):
        return run
    own = Path(tempfile.gettempdir()) / f"lanza-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        seen = own.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            raise UsageError(f"{own} is not a folder that only we may write to: remove it.")
        _remove_dangling(own)
        link = own / hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
        if not link.is_symlink() or link.readlink() != run:
            link.unlink(missing_ok=True)
            link.symlink_to(run, target_is_directory=True)
    except OSError as error:
        raise UsageError(
            f"{run} is too long for addresses of sockets, and {own}: {error.strerror}."
        ) from error
    if not _fits(link):
        raise UsageError(f"{link} is too long for addresses of sockets: set TMPDIR to a shorter folder.")
    return link


def _remove_dangling(own: Path) -> None:
    """Links to data folders that were removed."""
    for link in own.iterdir():
        if not link.exists():
            link.unlink(missing_ok=True)


def _fits(run: Path) -> bool:
    return len(os.fsencode(run)) + _NAMES <= LONGEST
