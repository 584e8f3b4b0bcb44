"""Ends a process whose handler does not come back.

Python cannot stop a function that runs in a thread, nor one that blocks the event loop. So when nobody waits
for a call any more, the watchdog looks again after a while: a handler that still has not come back from what
it did then would keep every later call waiting, and only a new process helps.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any


class Watchdog:
    """`call_soon` reaches the event loop from any thread; `end` ends the process."""

    def __init__(self, call_soon: Callable[[Callable[[], object]], object], end: Callable[[], None]) -> None:
        self._call_soon = call_soon
        self._end = end
        self._entered = 0
        self._returned = 0

    def watched(self, function: Callable[..., Any], *args: Any) -> Any:
        """`function(*args)`, on the one thread that runs what handlers block in."""
        self._entered += 1
        try:
            return function(*args)
        finally:
            self._returned += 1

    def abandoned(self, patience: float) -> None:
        """Nobody waits for a call: end the process if the handler is still where it is in `patience` s."""
        busy = self._entered if self._entered > self._returned else 0
        answered = threading.Event()
        self._call_soon(answered.set)

        def look() -> None:
            if not answered.is_set() or (busy and self._returned < busy):
                said = f"the handler has not come back {patience:g} s after its caller left: the process ends"
                print(said, file=sys.stderr, flush=True)
                self._end()

        timer = threading.Timer(patience, look)
        timer.daemon = True
        timer.start()
