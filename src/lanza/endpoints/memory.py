"""What the loop remembers of an endpoint between two looks: its load, what that wanted, room refused.

All of it may be lost at any time: a new memory knows nothing since it began, and the autoscaler is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lanza.endpoints import loads
from lanza.endpoints.autoscale import Load, Wanted, desired_replicas, remembered, wanted_now
from lanza.endpoints.platform import Sight
from lanza.endpoints.records import Replica
from lanza.endpoints.spec import Scaling
from lanza.endpoints.states import LIVE, Phase

AVERAGED: Final = 20.0
"""Seconds over which pending requests are averaged."""
TRY_ROOM_EVERY: Final = 2.0


@dataclass(kw_only=True)
class Memory:
    """`samples` are moments and the requests that were pending then; `no_room` why a start was refused."""

    known_since: float
    wanted: Sequence[Wanted] = ()
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=200))
    _no_room: str = ""
    _no_room_at: float = 0.0

    def is_later(self, at: float) -> bool:
        """Whether this was remembered in what is the future now: the clock was set back."""
        return self.known_since > at or any(moment > at for moment, _ in self.samples)

    def load(
        self, rows: Sequence[Replica], sights: Mapping[str, Sight], pending: loads.Pending, at: float
    ) -> Load:
        self.samples.append((at, pending.in_flight + pending.held))
        recent = [count for moment, count in self.samples if moment > at - AVERAGED]
        used = [sights[it.id].cpu for it in rows if it.phase == Phase.READY.value and it.id in sights]
        return Load(
            in_flight=pending.in_flight,
            held=pending.held,
            average=sum(recent) / len(recent),
            cpu=sum(used) / len(used) if used else 0.0,
        )

    def desired(self, load: Load, rows: Sequence[Replica], scaling: Scaling, at: float) -> int:
        """How many replicas there should be, by this load and those before it."""
        ready = sum(it.phase == Phase.READY.value for it in rows)
        live = sum(it.phase in LIVE for it in rows)
        self.wanted = remembered(self.wanted, wanted_now(load, scaling, ready=ready, now=at), scaling)
        return desired_replicas(self.wanted, scaling, current=live, known_since=self.known_since, now=at)

    def refuse(self, reason: str, at: float) -> None:
        self._no_room, self._no_room_at = reason, at

    def make_room(self) -> None:
        """A replica is gone: what was refused may fit now."""
        self._no_room = ""

    def no_room(self, at: float) -> str:
        """Why no replica is to be started now, or empty: every few seconds it is tried again."""
        refused = self._no_room_at <= at < self._no_room_at + TRY_ROOM_EVERY
        return self._no_room if refused else ""
