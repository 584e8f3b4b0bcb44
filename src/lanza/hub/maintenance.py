"""Keeping a repository quick: each commit leaves a pack, and many packs are slow to look through.

When there are too many, git puts the smaller ones together, so that the sizes of those that stay grow
geometrically: an object is rewritten only a logarithmic number of times. Nothing is ever dropped here: that
is for `pruning.py`. Being late with it is no harm, so a failure is written to the log, and never fails the
commit that caused it.
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
    remove_leftovers(folder, older_than=LEFTOVER_SECONDS)
    repack(folder, "--geometric=2")


def repack(folder: Path, *how: str) -> bool:
    """Have git write packs anew. Whether it did; if not, all is as it was. To be called while `writing`."""
    try:
        done = run(folder, ["repack", *how, "-d", "-n", "-q"], seconds=REPACK_SECONDS)
    except (MissingExtra, OSError, subprocess.TimeoutExpired) as error:
        log.warning("packs of %s were not put together: %s", folder.name, error)
        return False
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        log.warning("packs of %s were not put together: %s", folder.name, said)
    return not done.returncode


def remove_leftovers(folder: Path, *, older_than: float) -> None:
    """Take away what killed processes left: unfinished packs, and pushes that nobody accepted.

    Only what nobody has written to for so many seconds.
    """
    oldest = time.time() - older_than
    for path in [*(folder / "objects" / "pack").glob(f"{ASIDE}*"), *folder.glob(f"{INCOMING}*")]:
        try:
            if path.stat().st_mtime <= oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error.strerror)
