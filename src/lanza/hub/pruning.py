"""Objects that no ref leads to, dropped from a repository: what failed pushes and moved branches left.

The model: pruning takes two steps. What no ref leads to is first set aside, in a pack of git's own for such
objects (a *cruft pack*), which notes for each since when. There it can still be read, and a new ref makes it
count again. What has been there for a grace period is dropped.

Whoever prunes is the only one that writes, so that no commit is half-way. A push by git that is coming in may
build upon objects which have just lost their ref: then nothing is dropped, until the next time. Such a push
makes its folder while it is the only one that writes (`receive.py`), so it cannot be overlooked.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from lanza.hub.bare import size_of
from lanza.hub.maintenance import INCOMING, remove_leftovers, repack
from lanza.hub.refs import writing


def prune(folder: Path, *, older_than: timedelta) -> int:
    """Set strays aside, and drop those that were set aside `older_than` ago. Gives the bytes that it freed.

    What killed pushes left half-way, and nobody has written to for as long, goes too. RepoNotFound.
    """
    with writing(folder):
        before = size_of(folder)
        remove_leftovers(folder, older_than=older_than.total_seconds())
        if not any(folder.glob(f"{INCOMING}*")):
            _begin_time(folder / "objects")
            repack(folder, "--cruft", f"--cruft-expiration={_since(older_than)}")
        return max(0, before - size_of(folder))


def _begin_time(objects: Path) -> None:
    """What is set aside counts as unused since the time of its file: let that be now, not when it came."""
    for path in [*objects.glob("pack/*.pack"), *objects.glob("??/*")]:
        if not path.with_suffix(".mtimes").exists():
            os.utime(path)


def _since(older_than: timedelta) -> str:
    seconds = int(older_than.total_seconds())
    return f"{seconds}.seconds.ago" if seconds else "now"
