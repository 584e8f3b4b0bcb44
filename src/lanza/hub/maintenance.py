"""Keeping a repository quick: each commit leaves a pack, and many packs are slow to look through.

When there are too many, git puts the smaller ones together, so that the sizes of those that stay grow
geometrically: an object is rewritten only a logarithmic number of times. Nothing is ever dropped here. Being
late with it is no harm, so a failure is written to the log, and never fails the commit that caused it.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from lanza.errors import MissingExtra
from lanza.hub.packs import ASIDE
from lanza.hub.programs import run

log = logging.getLogger("lanza.hub")

MOST_PACKS: Final = 50
REPACK_SECONDS: Final = 600
LEFTOVER_SECONDS: Final = 24 * 3600

INCOMING: Final = "incoming-"
"""How folders are called that hold what a push brings, until it is accepted."""


def tidy(folder: Path, *, most: int = MOST_PACKS) -> None:
    """Put packs together if there are more than `most`. To be called by who is `writing`."""
    packs = folder / "objects" / "pack"
    if sum(1 for _ in packs.glob("*.pack")) <= most:
        return
    _remove_leftovers(folder)
    try:
        done = run(
            folder,
            ["repack", "--geometric=2", "-d", "-n", "-q"],
            seconds=REPACK_SECONDS,
        )
        if done.returncode:
            log.warning(
                "packs of %s were not put together: %s", folder.name, done.stderr.decode(errors="replace")
            )
    except (MissingExtra, OSError, subprocess.TimeoutExpired) as error:
        log.warning("packs of %s were not put together: %s", folder.name, error)


def _remove_leftovers(folder: Path) -> None:
    """Take away what killed processes left: unfinished packs, and pushes that nobody accepted."""
    oldest = time.time() - LEFTOVER_SECONDS
    for path in [*(folder / "objects" / "pack").glob(f"{ASIDE}*"), *folder.glob(f"{INCOMING}*")]:
        try:
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error.strerror)
