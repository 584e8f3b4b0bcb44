"""Logs of replicas: of those that run, line by line; of those that have ended, the end, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lanza.platforms.local.layout import RunFolder

KEPT_BYTES: Final = 128 * 1024
KEPT_OF_ENDPOINT: Final = 5
KEPT_OF_ALL: Final = 500
FOLLOW_EVERY: Final = 0.25


class EndedLogs:
    """The ends of logs, `ROOT/<endpoint>/<replica>.log`; the oldest go first."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def keep(self, endpoint: str, replica: str, folder: RunFolder) -> None:
        data = b"".join(_bytes(path) for path in (folder.older_log, folder.log))
        if not data:
            return
        place = self._root / quote(endpoint, safe="")
        with suppress(OSError):  # without room on the disk, or a folder that we may not write to
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            (place / f"{replica}.log").write_bytes(_end(data))
            _thin(_by_age(place, "*.log"), KEPT_OF_ENDPOINT)
            _thin(_by_age(self._root, "*/*.log"), KEPT_OF_ALL)

    def find(self, replica: str) -> Path | None:
        return next(self._root.glob(f"*/{replica}.log"), None)

    def of(self, endpoint: str) -> list[str]:
        """The replicas of an endpoint whose logs are kept, the newest first."""
        return [path.stem for path in reversed(_by_age(self._root / quote(endpoint, safe=""), "*.log"))]


async def lines(folder: RunFolder, *, follow: bool, over: Callable[[], bool]) -> AsyncIterator[str]:
    """The lines of a replica that is not forgotten; with `follow`, until it is `over`, and all is read."""
    older = await asyncio.to_thread(_bytes, folder.older_log)
    for line in older.decode(errors="replace").splitlines():
        yield line
    place, rest = _Place(folder.log), b""
    while True:
        ended = await asyncio.to_thread(over)
        *whole, rest = (rest + await asyncio.to_thread(place.read)).split(b"\n")
        for part in whole:
            yield part.decode(errors="replace")
        if ended or not follow:
            break
        await asyncio.sleep(FOLLOW_EVERY)
    if rest:
        yield rest.decode(errors="replace")


class _Place:
    """Where in a log the reader is. The file may be renamed and begun anew under it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number: int | None = None
        self._at = 0

    def read(self) -> bytes:
        """What is new; after a change of files the rest of the old one first."""
        with suppress(OSError):
            number = self._path.stat().st_ino
            before = b""
            if self._number not in (None, number):
                old = self._path.with_name(f"{self._path.name}.1")
                if old.stat().st_ino == self._number:
                    before = self._from(old)
                self._at = 0
            self._number = number
            return before + self._from(self._path)
        return b""

    def _from(self, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        return data


def _bytes(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _end(data: bytes) -> bytes:
    if len(data) <= KEPT_BYTES:
        return data
    return data[-KEPT_BYTES:].partition(b"\n")[2]


def _by_age(folder: Path, pattern: str) -> list[Path]:
    found = []
    for path in folder.glob(pattern):
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def _thin(paths: list[Path], most: int) -> None:
    for path in paths[: max(0, len(paths) - most)]:
        with suppress(OSError):
            path.unlink()
