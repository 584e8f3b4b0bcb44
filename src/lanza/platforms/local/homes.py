"""Homes of endpoints: each has one that outlives its replicas, until nobody has started any for long."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lanza.platforms.local.found import order_of
from lanza.platforms.local.layout import RunFolder
from lanza.platforms.local.starting import remove_folder

KEPT_SECONDS: Final = 30 * 24 * 3600.0


def remove_old_homes(homes: Path, run: Path, *, now: float) -> None:
    """Remove the homes in which no replica lives, and none has begun to for `KEPT_SECONDS`."""
    if not homes.is_dir():
        return
    lived_in = {
        quote(str(order_of(RunFolder(it)).get("endpoint", "")), safe="")
        for it in run.iterdir()
        if it.is_dir()
    }
    for home in homes.iterdir():
        with suppress(OSError):
            if home.name not in lived_in and now - home.stat().st_mtime > KEPT_SECONDS:
                remove_folder(home)
