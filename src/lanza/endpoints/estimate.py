"""Before deploying: how large, how many, and what a month of it will cost. Pure, and rough on purpose.

The model: requests come at random, evenly but for peaks; a replica does one at a time, and is planned to be
busy for `BUSY` of its time. With a minimum of 0 a replica lives from a request until nobody has asked for the
idle time, and costs while it starts too. What a month is, is 730 hours; what it will be, nobody knows: the
worst case is the one that a budget has to bear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lanza.endpoints.hardware import fitting
from lanza.endpoints.platform import Instance
from lanza.endpoints.spec import MOST_REPLICAS, Scaling
from lanza.errors import BadRequest

MONTH_HOURS: Final = 730.0
DAY: Final = 86_400.0
BUSY: Final = 0.7


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Requests per day, the seconds that one takes, and how much more come at the busiest than on average.

    `start` is how many seconds a replica takes until it is ready.
    """

    per_day: float
    seconds: float
    peak: float = 3.0
    start: float = 10.0

    def __post_init__(self) -> None:
        for name, least in (("per_day", 0.0), ("seconds", 0.0), ("peak", 1.0), ("start", 0.0)):
            if not least <= getattr(self, name) < math.inf:
                raise BadRequest(f"{name} is a number from {least:g} on: not {getattr(self, name):g}.")

    @property
    def load(self) -> float:
        """Requests at once, on average."""
        return self.per_day / DAY * self.seconds


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """The smallest hardware that the model fits on, and enough replicas for the peak."""

    instance: Instance
    min_replica: int
    max_replica: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A month in US dollars: nobody asks; as expected; every replica all the time.

    `replica_hours` and `starts` (from zero) are those of the expected month. The price is that of
    `price_as_of`, an ISO date.
    """

    idle: float
    expected: float
    worst: float
    replica_hours: float
    starts: float
    price_per_hour: float
    price_as_of: str


def suggest(expected: Expected, offers: Sequence[Instance], *, needs_bytes: int = 0) -> Suggestion:
    """BadRequest when the model fits nowhere."""
    fits = fitting(offers, needs_bytes)
    if not fits:
        most = max((it.memory_bytes for it in offers), default=0)
        raise BadRequest(
            f"the model needs about {needs_bytes / 2**30:.1f} GiB of memory, and the largest here has "
            f"{most / 2**30:.1f}: choose a smaller or a quantized one."
        )
    most = math.ceil(round(expected.load * expected.peak / BUSY, 9))
    return Suggestion(instance=fits[0], min_replica=0, max_replica=min(max(1, most), MOST_REPLICAS))


def estimate(expected: Expected, scaling: Scaling, instance: Instance) -> Estimate:
    """What these replicas will cost."""
    price = instance.price_per_hour
    least, most = scaling.min_replica, scaling.max_replica
    rate = expected.per_day / DAY
    asleep = math.exp(-rate * scaling.idle_seconds) if least == 0 else 0.0
    starts = rate * asleep * MONTH_HOURS * 3600
    awake = (1 - asleep) * MONTH_HOURS + starts * expected.start / 3600
    hours = max(least * MONTH_HOURS, awake, expected.load / BUSY * MONTH_HOURS)
    hours = min(hours, most * MONTH_HOURS)
    return Estimate(
        idle=least * MONTH_HOURS * price,
        expected=hours * price,
        worst=most * MONTH_HOURS * price,
        replica_hours=hours,
        starts=starts,
        price_per_hour=price,
        price_as_of=instance.price_as_of,
    )
