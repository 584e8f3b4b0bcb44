"""A disk that is nearly full, and whether this replica is why: what it wrote to its home and its /tmp.

Nothing bounds those folders for as long as there is room. When there is none any more, the server could keep
no records either; so who has written much is ended then, and loses what it has written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lanza.platforms.local.keeper.ending import Ended, size

LOW: Final = 2**30
"""Bytes that are left when something has to be done."""
MUCH: Final = 2**30
"""Bytes that a replica must have written to be called the reason."""
AGAIN_AFTER: Final = 5.0
"""Seconds between two countings: there may be many files."""


class DiskFull(Ended):
    """It has filled the disk: what it wrote goes with it."""


class Disk:
    """The disk that `places`, the folders which a replica writes to, lie on."""

    def __init__(self, places: Sequence[Path]) -> None:
        self.places = places
        self._next = 0.0

    def look(self, now: float) -> None:
        with suppress(OSError):  # removed, or not to be read: others find that
            if now < self._next or (left := _left(self.places[0])) >= LOW:
                return
            self._next = now + AGAIN_AFTER
            wrote = sum(written(place) for place in self.places)
            if wrote >= MUCH:
                raise DiskFull(
                    f"the disk has {size(left)} left, and it has written {size(wrote)}: let it write less",
                    failed=True,
                )


def _left(place: Path) -> int:
    seen = os.statvfs(place)
    return seen.f_bavail * seen.f_frsize


def written(place: Path) -> int:
    """Bytes on the disk of all files below a folder, whatever they claim to be long."""
    total, folders = 0, [place]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
