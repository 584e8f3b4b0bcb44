"""What the handler prints, as lines of the replica's log: bounded in length, in number and in memory.

A handler may print gigabytes. Everything is read, so that it never blocks on a full pipe; lines longer than
4 KiB are cut, and of more than 500 in a second the rest is counted and dropped.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator

LONGEST_LINE = 4096
LINES_PER_SECOND = 500
KEPT = 20


class LineLog:
    """Bytes in, lines out. `last` are the latest lines, for an error's message."""

    def __init__(self) -> None:
        self.last: deque[str] = deque(maxlen=KEPT)
        self._partial = bytearray()
        self._overlong = False
        self._second = 0
        self._count = 0
        self._dropped = 0

    def feed(self, data: bytes, *, now: float) -> Iterator[str]:
        """The lines to be logged; `now` in seconds, of any clock that does not go back."""
        if int(now) != self._second:
            yield from self._report_dropped()
            self._second, self._count = int(now), 0
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            text = self._take()
            self.last.append(text)
            self._count += 1
            if self._count <= LINES_PER_SECOND:
                yield text
            else:
                self._dropped += 1
        self._append(rest)

    def finish(self) -> Iterator[str]:
        """What was left unfinished when the output ended."""
        yield from self._report_dropped()
        if self._partial:
            text = self._take()
            self.last.append(text)
            yield text

    def _append(self, part: bytes) -> None:
        room = LONGEST_LINE - len(self._partial)
        self._partial += part[:room]
        self._overlong = self._overlong or len(part) > room

    def _take(self) -> str:
        text = self._partial.decode("utf-8", "replace").rstrip("\r") + ("…" if self._overlong else "")
        self._partial.clear()
        self._overlong = False
        return text

    def _report_dropped(self) -> Iterator[str]:
        if self._dropped:
            yield f"({self._dropped} more lines were printed within a second and are left out)"
            self._dropped = 0


def forward(descriptor: int, lines: LineLog, logger: logging.Logger) -> threading.Thread:
    """Start a thread that logs what comes from a pipe until its end, and closes it."""

    def run() -> None:
        with os.fdopen(descriptor, "rb", buffering=0) as pipe:
            while data := pipe.read(2**16):
                for line in lines.feed(data, now=time.monotonic()):
                    logger.info("%s", line)
        for line in lines.finish():
            logger.info("%s", line)

    thread = threading.Thread(target=run, name="handler-log", daemon=True)
    thread.start()
    return thread
