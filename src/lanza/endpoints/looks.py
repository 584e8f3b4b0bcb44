"""When the loop looks, by a clock that may be set and one that may not; and whether it knows enough to judge.

The model: two looks lie as far apart by the clock as by a steady one, or the clock was set meanwhile, and
what was noted by the old time is moved along. After a start, a database that was away, or a clock that was
set, the workers' word of what is asked for is old or missing: for a moment nobody is called idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lanza.endpoints import loads

NOTICED: Final = timedelta(seconds=2)
"""How far a clock must have been set for it to be more than its being kept right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The moment of a look, by the clock and by the steady one.

    `set_by` is how far the clock was set since the look before; `informed`: workers had the time to say what
    is under way.
    """

    moment: datetime
    steady: float
    set_by: timedelta
    informed: bool

    def move(self, record: Any, *names: str) -> None:
        """Have these moments of a record lie as long ago as they do, whatever the clock was set to."""
        for name in names if self.set_by else ():
            noted = getattr(record, name)
            if noted is not None:
                setattr(record, name, min(noted + self.set_by, self.moment))


class Looks:
    """Called by one loop. `clock` gives seconds since 1970, `steady` seconds that are never set."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steady = steady
        self._last: Look | None = None
        self._since = self._steady()

    def begin(self) -> Look:
        at, steady = self._clock(), self._steady()
        set_by = timedelta(0)
        if self._last is not None:
            passed = steady - self._last.steady
            drift = timedelta(seconds=at - self._last.moment.timestamp() - passed)
            set_by = drift if abs(drift) >= NOTICED else set_by
            if set_by or passed > loads.FRESH.total_seconds():
                self._since = steady
        return Look(
            moment=datetime.fromtimestamp(at, UTC),
            steady=steady,
            set_by=set_by,
            informed=steady - self._since >= loads.FRESH.total_seconds(),
        )

    def done(self, look: Look) -> None:
        """What was seen is written. One that failed is as if it had not been."""
        self._last = look
