"""What was found out and made before first starts: kept until no replica has been started from it for long.

The model: `DATA/prepared` has a small file for each model, with the way in which it is served, and a start
that reads it marks it as used. `DATA/converted` has the graphs that those files name. Whatever is removed is
made again by the next start that wants it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lanza.platforms.local.starting import remove_folder

KEPT_SECONDS: Final = 30 * 24 * 3600.0
MAKING_SECONDS: Final = 24 * 3600.0
"""A conversion that is younger may not have been told of yet."""


def remove_old_conversions(converted: Path, prepared: Path, *, now: float) -> None:
    """Remove what no start has used for `KEPT_SECONDS`, and the graphs that are then named by nobody."""
    if not converted.is_dir():
        return
    used = set(_used(prepared, now))
    for folder in converted.iterdir():
        with suppress(OSError):
            if folder.is_dir() and folder not in used and now - folder.stat().st_mtime > MAKING_SECONDS:
                remove_folder(folder)


def _used(prepared: Path, now: float) -> Iterator[Path]:
    """The folders of graphs that are still named, once the files of old ones are gone."""
    for path in prepared.glob("*"):
        with suppress(OSError, ValueError, AttributeError):
            if now - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()
            elif graph := json.loads(path.read_bytes()).get("graph"):
                yield Path(graph).parent
