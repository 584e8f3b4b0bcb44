"""One endpoint for a day: the real autoscaler and the real `decide`, over replicas that are numbers. Pure.

The model: a replica starts for some seconds, then does one request at a time, the oldest first; one that is
stopped finishes what it has. A look comes each half second while something runs, and a request that finds
nothing brings one at once, as in the server. Waiting is from a request's coming until a replica begins it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from autoscale.traffic import DAY, Request
from lanza.endpoints.autoscale import Load, Wanted, desired_replicas, remembered, wanted_now
from lanza.endpoints.decide import Seen, SeenReplica, decide
from lanza.endpoints.spec import Scaling
from lanza.endpoints.states import Intent, Phase

LOOK: Final = 0.5
AVERAGED: Final = 40
"""Looks over which pending requests are averaged: the server's 20 s."""


@dataclass(kw_only=True)
class Replica:
    id: str
    began: float
    ready: float
    done: float | None = None
    stopping: bool = False

    def phase(self, now: float) -> Phase:
        if self.stopping:
            return Phase.DRAINING
        return Phase.READY if now >= self.ready else Phase.STARTING


@dataclass(kw_only=True)
class Outcome:
    """`waits` are seconds, in the order in which requests were begun; `counts` moments and replicas."""

    waits: list[float] = field(default_factory=list)
    counts: list[tuple[float, int]] = field(default_factory=list)
    seconds: float = 0.0
    starts: int = 0

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    def wait(self, share: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Day:
    """`start` is the seconds until a replica is ready; `length` those of the day. At midnight as many run as
    `scaling` keeps."""

    def __init__(
        self, requests: Sequence[Request], scaling: Scaling, *, start: float, length: float = DAY
    ) -> None:
        self.length = length
        self.coming = deque(requests)
        self.scaling = scaling
        self.start = start
        self.queue: deque[Request] = deque()
        self.replicas: list[Replica] = []
        self.intent = Intent.RUN if scaling.min_replica else Intent.ZERO
        self.history: tuple[Wanted, ...] = ()
        self.samples: deque[int] = deque(maxlen=AVERAGED)
        self.asked = 0.0
        self.outcome = Outcome()
        for number in range(scaling.min_replica):
            self.replicas.append(Replica(id=f"first {number}", began=0.0, ready=0.0))

    def run(self) -> Outcome:
        now = 0.0
        while now < self.length or self.queue or any(it.done for it in self.replicas):
            if self.intent is Intent.ZERO and not self.replicas and not self.queue:
                if not self.coming:
                    break
                now = max(now, self.coming[0].at)  # at zero nothing happens until somebody asks
            self._look(now)
            self._serve(now, now + LOOK)
            now += LOOK
        for it in self.replicas:
            self.outcome.seconds += max(0.0, now - it.began)
        return self.outcome

    def _look(self, now: float) -> None:
        self._arrive(now)
        if self.queue and self.intent is Intent.ZERO:
            self.intent, self.asked = Intent.RUN, now  # what the gateway does for the first that waits
        flying = sum(it.done is not None for it in self.replicas)
        self.samples.append(flying + len(self.queue))
        average = sum(self.samples) / len(self.samples)
        load = Load(in_flight=flying, held=len(self.queue), average=average)
        live = [it for it in self.replicas if not it.stopping]
        ready = sum(it.phase(now) is Phase.READY for it in live)
        self.history = remembered(
            self.history, wanted_now(load, self.scaling, ready=ready, now=now), self.scaling
        )
        desired = desired_replicas(self.history, self.scaling, current=len(live), known_since=-DAY, now=now)
        seen = Seen(
            intent=self.intent,
            revision=1,
            serving=1,
            scaling=self.scaling,
            desired=desired,
            replicas=[
                SeenReplica(id=it.id, revision=1, phase=it.phase(now), since=it.began) for it in self.replicas
            ],
            idle=0.0 if load.pending else now - self.asked,
        )
        decision = decide(seen, now)
        self.intent = decision.intent or self.intent
        for it in self.replicas:
            it.stopping = it.stopping or it.id in decision.stop
        for _ in decision.start:
            self.outcome.starts += 1
            self.replicas.append(Replica(id=f"r{self.outcome.starts}", began=now, ready=now + self.start))
        self.outcome.counts.append((now, len(self.replicas)))

    def _arrive(self, until: float) -> None:
        while self.coming and self.coming[0].at <= until:
            self.queue.append(self.coming.popleft())
            self.asked = self.queue[-1].at

    def _serve(self, now: float, until: float) -> None:
        """Everything that replicas begin and end before the next look."""
        self._arrive(until)
        free = [(max(now, it.ready, it.done or 0.0), number) for number, it in enumerate(self.replicas)]
        free = [(at, number) for at, number in free if not self.replicas[number].stopping]
        heapq.heapify(free)
        while self.queue and free and free[0][0] < until:
            at, number = heapq.heappop(free)
            request = self.queue[0]
            begun = max(at, request.at)
            if begun >= until:
                break
            self.queue.popleft()
            self.outcome.waits.append(begun - request.at)
            self.replicas[number].done = begun + request.seconds
            heapq.heappush(free, (begun + request.seconds, number))
        for it in self.replicas:
            if it.done is not None and it.done <= until:
                it.done = None
        gone = [it for it in self.replicas if it.stopping and it.done is None]
        for it in gone:
            self.outcome.seconds += until - it.began
        self.replicas = [it for it in self.replicas if it not in gone]
