"""The end of a server that was stopped on purpose: its replicas end with it.

A server that dies leaves its replicas for the next one to find. One that is told to stop takes them along,
once its own last requests have been answered.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from lanza.platforms.local.layout import RunFolder, shout

LOOK_EVERY: Final = 0.02
PATIENCE: Final = 10.0
"""Seconds that keepers get beside those for draining."""


def end_all(data: Path, *, drain: float) -> int:
    """End all replicas below the data folder; gives how many are still there after `drain` and some seconds.

    Each gets `drain` seconds for requests that are under way, and is killed by its keeper then.
    """
    wish = json.dumps({"drain": drain}).encode() + b"\n"
    waiting = [RunFolder(entry) for entry in _entries(data / "run")]
    told: set[Path] = set()
    deadline = time.monotonic() + drain + PATIENCE
    while waiting := [it for it in waiting if it.is_kept()]:
        for folder in waiting:
            if folder.path not in told and shout(folder.wishes, wish):
                told.add(folder.path)
        if time.monotonic() >= deadline:
            break
        time.sleep(LOOK_EVERY)
    return len(waiting)


def _entries(run: Path) -> list[Path]:
    return [it for it in run.iterdir() if it.is_dir() and not it.is_symlink()] if run.is_dir() else []
