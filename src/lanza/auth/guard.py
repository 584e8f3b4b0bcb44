"""Slows down whoever tries passwords: after a few failures, each further try must wait twice as long.

The model: failures are counted for keys, the client's address and the account that is tried. A key that fails
no more is forgotten after a while. The longest wait is short, so that nobody can lock somebody else out for
long. All is in memory, and there is a bound to it: those that failed longest ago are forgotten first.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lanza.errors import Overloaded

FREE: Final = 5
"""Failures that cost nothing, if nothing else is said: people mistype."""

LONGEST_WAIT: Final = 60.0  # seconds
FORGET_AFTER: Final = 900.0  # seconds without a failure
MOST_KEYS: Final = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float

    def until(self, free: int) -> float:
        """When the next try is allowed."""
        over = self.count - free
        return self.last if over < 0 else self.last + min(2.0 ** min(over, 30), LONGEST_WAIT)


class Guard:
    """`clock` gives seconds. May be used by many threads at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, key: str, *, free: int = FREE) -> None:
        """Overloaded, while `key` must wait. `free` failures cost nothing, more where many share a key."""
        with self._lock:
            found = self._found(key)
            wait = 0.0 if found is None else found.until(free) - self._clock()
        if wait > 0:
            raise Overloaded(
                f"there were too many tries: wait {math.ceil(wait)} s, then try again.",
                retry_after=wait,
            )

    def failed(self, key: str) -> None:
        """Count a failure. To be called before a slow check, so that many at once do not slip through."""
        with self._lock:
            found = self._found(key)
            self._failures[key] = _Failures(1 if found is None else found.count + 1, self._clock())
            self._failures.move_to_end(key)
            if len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of `key`."""
        with self._lock:
            self._failures.pop(key, None)

    def _found(self, key: str) -> _Failures | None:
        found = self._failures.get(key)
        if found is not None and self._clock() - found.last > FORGET_AFTER:
            del self._failures[key]
            return None
        return found
