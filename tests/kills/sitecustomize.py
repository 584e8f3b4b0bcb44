"""Ends a server as by `kill -9`, at a step of a push that a test chooses.

A step is where the code of a push is about to change something outside of the process: a file is opened,
written, synced or renamed, a ref moved, a statement given to the database. Python runs this module at its
start when its folder is on PYTHONPATH; it watches calls by a profiler, and the server knows nothing of it.

KILL_AT names a file with `NAME NUMBER`: while pushes run, the process ends before step NUMBER of those since
NAME was written there; with 0 it never does. Steps are written to KILL_STEPS, one in each line.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Final

PUSHES: Final = {
    ("incoming.py", "write"),
    ("blobs.py", "_keep"),
    ("lfs.py", "record"),
    ("commits.py", "apply"),
}
"""Functions of `lanza.hub` within which steps are counted: all that a push changes, on whatever thread."""

STEPS: Final = {
    *("open", "write", "fsync", "rename", "replace", "unlink", "mkdir", "chmod", "flock", "fork_exec"),
    *("execute", "executemany", "commit"),
    *("git_transaction_lock_ref", "git_transaction_set_target", "git_transaction_commit"),
}
"""Functions in C, by their names."""


class Killer:
    """Counts steps. Threads share it under Python's own lock, which is enough for a count."""

    def __init__(self, order: Path, steps: Path) -> None:
        self._order = order
        self._steps = steps
        self._told = ""
        self._at = self._count = 0
        self._within = threading.local()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        depth: int = getattr(self._within, "depth", 0)
        if event in ("call", "return") and _is_push(frame):
            if event == "call":
                self._read_order()
            self._within.depth = depth + (1 if event == "call" else -1)
        elif event == "c_call" and depth and _is_step(argument):
            self._step(argument.__name__)

    def _read_order(self) -> None:
        told = self._order.read_text(encoding="ascii")
        if told != self._told:
            self._told, self._count, self._at = told, 0, int(told.split()[1])

    def _step(self, name: str) -> None:
        self._count += 1
        with self._steps.open("a", encoding="ascii") as file:
            file.write(f"{name}\n")
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_step(function: Any) -> bool:
    return function.__name__ in STEPS and not isinstance(function.__self__, str)  # strings replace, too


def _is_push(frame: FrameType) -> bool:
    path, slash, name = frame.f_code.co_filename.rpartition("/")
    return bool(slash) and (name, frame.f_code.co_name) in PUSHES and path.endswith("/lanza/hub")


if "KILL_AT" in os.environ:
    # Only on threads: the main one runs the event loop, where nothing touches a disk.
    threading.setprofile(Killer(Path(os.environ["KILL_AT"]), Path(os.environ["KILL_STEPS"])))
