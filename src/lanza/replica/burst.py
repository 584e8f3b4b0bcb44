"""Tells when a burst of requests has arrived whole.

The answers of a batch go out together, so the requests that follow them come together as well. A stream that
took the first of them alone would find the rest waiting when it is back: a batch of one and one of many,
which cost more than one of all. No timer runs: a burst ends with turns of the event loop that brought nothing
new, some ten microseconds each, or when there is enough to compute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

QUIET_TURNS: Final = 2
"""Turns without a new request, after which a burst has ended: what is read in one is queued in the next."""


class Burst:
    """`arrival` is told of every request, on the event loop; `ended` is called there, once a burst.

    `enough` says whether to wait no longer. `running` may be read by any thread.
    """

    def __init__(self, *, enough: Callable[[], bool], ended: Callable[[], None]) -> None:
        self.running = False
        self._enough = enough
        self._ended = ended
        self._arrivals = 0

    def arrival(self, loop: asyncio.AbstractEventLoop) -> None:
        self._arrivals += 1
        if not self.running:
            self.running = True
            loop.call_soon(self._look, loop, self._arrivals, QUIET_TURNS)

    def _look(self, loop: asyncio.AbstractEventLoop, seen: int, turns: int) -> None:
        left = turns - 1 if self._arrivals == seen else QUIET_TURNS
        if left and not self._enough():
            loop.call_soon(self._look, loop, self._arrivals, left)
            return
        self.running = False
        self._ended()
