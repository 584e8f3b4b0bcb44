"""How many replicas a load wants: a pure function, with time and history as values.

The model: more at once, fewer only after calm. What the load of each moment would want is remembered by who
calls; the answer never falls below the most that was wanted within `scaleDownAfter` seconds, and while less
than that is known (after a restart), never below what there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lanza.endpoints.spec import Measure, Scaling


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What all workers see of one endpoint.

    `in_flight` requests are with replicas, `held` wait for one; `average` is the sum of both over the last
    seconds. `cpu` is the share that ready replicas use of what they have, 0 to 1. `last_request` is when the
    last request came, in seconds since 1970.
    """

    in_flight: int = 0
    held: int = 0
    average: float = 0.0
    cpu: float = 0.0
    last_request: float = 0.0

    @property
    def pending(self) -> int:
        return self.in_flight + self.held


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the load of one moment would want, by itself."""

    at: float
    replicas: int


def wanted_now(load: Load, scaling: Scaling, *, ready: int, now: float) -> Wanted:
    """What this moment alone would want; at least 1 when anybody waits, at most `maxReplica`."""
    match scaling.measured:
        case Measure.HARDWARE:
            wished = math.ceil(_tidy(ready * load.cpu * 100 / scaling.threshold))
        case Measure.REQUESTS:
            wished = math.ceil(_tidy(load.pending / scaling.threshold))
        case _:
            wished = math.ceil(_tidy(max(load.average, load.held) / scaling.threshold))
    if load.pending:
        wished = max(1, wished)
    return Wanted(at=now, replicas=min(max(scaling.min_replica, wished), scaling.max_replica))


def remembered(history: Sequence[Wanted], one: Wanted, scaling: Scaling) -> tuple[Wanted, ...]:
    """The history with one more moment, without those that can decide nothing any more.

    What is left wants ever less, so it is never longer than there are numbers of replicas.
    """
    calm = one.at - scaling.scale_down_after
    return (*(it for it in history if it.replicas > one.replicas and it.at > calm), one)


def desired_replicas(
    history: Sequence[Wanted], scaling: Scaling, *, current: int, known_since: float, now: float
) -> int:
    """How many there should be. `history` is in order of time; `current` are not yet stopped.

    `known_since` is when the history began. One replica stays until the endpoint goes to zero as a whole,
    which is another's decision.
    """
    calm = now - scaling.scale_down_after
    recent = [it for it in history if it.at > calm] or history[-1:]
    most = max((it.replicas for it in recent), default=0)
    if known_since > calm:
        most = max(most, current)
    return min(max(1, scaling.min_replica, most), scaling.max_replica)


def _tidy(value: float) -> float:
    """Without the last bits of a division: 3.0000000000000004 is 3."""
    return round(value, 9)
