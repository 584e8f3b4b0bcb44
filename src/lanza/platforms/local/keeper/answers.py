"""What the job before a first start has to say: its JSON lines, and its answer, kept for the next start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

LONGEST: Final = 65536
PARTS: Final = frozenset({"engine", "why", "task", "graph", "needs"})
"""What an answer says: four parts of a replica's spec, and the bytes of memory that serving needs."""


class Answers:
    """Bytes in; `step`, `prepared` and `error` out, each as `lanza.convert.prepare` has it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._partial = bytearray()
        self.prepared: dict[str, Any] | None = None
        self.error = ""

    def hear(self, data: bytes) -> None:
        *lines, rest = (bytes(self._partial) + data).split(b"\n")
        self._partial[:] = rest[:LONGEST]
        for line in lines:
            with suppress(ValueError):  # a library that prints where it should not
                event = json.loads(line)
                if isinstance(event, dict):
                    self._learn(event)

    def _learn(self, event: dict[str, Any]) -> None:
        if "step" in event:
            self._tell(str(event["step"]))
        if "error" in event:
            self.error = str(event["error"])
        if isinstance(event.get("prepared"), dict):
            self.prepared = event["prepared"]


def known(path: Path) -> dict[str, Any] | None:
    """A job's result of an earlier start, if what it names is still there. It counts as used now."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        found = json.loads(path.read_bytes())
        if found.keys() >= PARTS and (not found["graph"] or Path(found["graph"]).is_file()):
            os.utime(path)
            return dict(found)
    return None


def remember(path: Path, found: dict[str, Any]) -> None:
    with suppress(OSError):  # then the next start asks again
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(found))
        aside.replace(path)
