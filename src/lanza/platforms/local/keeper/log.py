"""What a replica says, kept in two files of bounded size, without its secrets.

A replica may print gigabytes: all is read, so that it never blocks, but lines longer than 4 KiB are cut, and
of more than `BYTES_PER_SECOND` the rest is counted and dropped. A disk without room costs lines, not the
replica.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

LONGEST_LINE: Final = 4096
BYTES_PER_SECOND: Final = 256 * 1024
FILE_BYTES: Final = 1024 * 1024
KEPT_LINES: Final = 20
MASK: Final = b"********"
SHORTEST_SECRET: Final = 4
"""Shorter values would mask half of what is said."""


class Log:
    """Bytes in, lines in `path` and, before those, in `older`. `last` are the latest lines."""

    def __init__(self, path: Path, older: Path, secrets: Sequence[str] = ()) -> None:
        self._path, self._older = path, older
        self._secrets = masked(secrets)
        self.last: deque[str] = deque(maxlen=KEPT_LINES)
        self._partial = bytearray()
        self._overlong = False
        self._second = 0
        self._budget = BYTES_PER_SECOND
        self._dropped = 0
        self._file = self._open()
        self._written = 0

    def feed(self, data: bytes, now: float) -> None:
        """`now` in seconds, of any clock that does not go back."""
        self._begin_second(now)
        if self._budget <= 0 and not self._partial and b"\n" in data:
            self._skip(data)
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            self._take()
        self._append(rest)
        self._flush()

    def pass_time(self, now: float) -> None:
        """Say what was left out, also of one that has fallen silent since. To be called now and then."""
        if self._dropped and self._begin_second(now):
            self._flush()

    def say(self, line: str) -> None:
        """A line of the keeper's own."""
        self._keep(line.encode())
        self._flush()

    def close(self) -> None:
        if self._partial:
            self._take()
        self._report_dropped()
        self._flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin_second(self, now: float) -> bool:
        """Whether another second has begun, in which more may be kept."""
        if int(now) == self._second:
            return False
        self._report_dropped()
        self._second, self._budget = int(now), BYTES_PER_SECOND
        return True

    def _skip(self, data: bytes) -> None:
        """Nothing of this second may be kept any more: only its last line is, for the last words."""
        head, _, rest = data.rpartition(b"\n")
        self._dropped += head.count(b"\n") + 1
        self.last.append(self._clean(head[-LONGEST_LINE:].rpartition(b"\n")[2]).decode("utf-8", "replace"))
        self._append(rest)

    def _append(self, part: bytes) -> None:
        room = LONGEST_LINE - len(self._partial)
        self._partial += part[:room]
        self._overlong = self._overlong or len(part) > room

    def _take(self) -> None:
        line = bytes(self._partial).rstrip(b"\r") + ("…".encode() if self._overlong else b"")
        self._partial.clear()
        self._overlong = False
        if self._budget <= 0:
            self._dropped += 1
            self.last.append(self._clean(line).decode("utf-8", "replace"))
            return
        self._budget -= len(line) + 1
        self._keep(self._clean(line))

    def _clean(self, line: bytes) -> bytes:
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        return line

    def _report_dropped(self) -> None:
        if self._dropped:
            self._keep(f"({self._dropped} more lines were printed within a second and are left out)".encode())
            self._dropped = 0

    def _keep(self, line: bytes) -> None:
        self.last.append(line.decode("utf-8", "replace"))
        self._lines.append(line)

    # The files

    def _open(self) -> int | None:
        self._lines: list[bytes] = []
        with suppress(OSError):
            return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        return None

    def _flush(self) -> None:
        if not self._lines:
            return
        data = b"".join(line + b"\n" for line in self._lines)
        self._lines.clear()
        if self._file is None:
            return
        with suppress(OSError):  # the disk is full: what is said now is lost
            os.write(self._file, data)
        self._written += len(data)
        if self._written >= FILE_BYTES:
            self._turn()

    def _turn(self) -> None:
        """Begin anew; what was written becomes the older file."""
        assert self._file is not None
        os.close(self._file)
        with suppress(OSError):
            self._path.replace(self._older)
        self._file, self._written = self._open(), 0


def masked(secrets: Sequence[str]) -> tuple[bytes, ...]:
    """What is looked for in each line: the values, each line of those that have several; longest first."""
    parts: Iterator[str] = (part for secret in secrets for part in (secret, *secret.splitlines()))
    found = {part.strip().encode() for part in parts if len(part.strip()) >= SHORTEST_SECRET}
    return tuple(sorted(found, key=len, reverse=True))
