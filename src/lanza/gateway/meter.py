"""What happens, counted where it happens, written once a second: requests, errors, tokens, what is under way.

The model: a `Tally` for each endpoint, to which a request adds a few numbers; `take` empties all of them into
amounts that one transaction writes. What could not be written is put back and written later. Errors are
answers of 500 and above, and answers that ended in the middle. What was refused at the door (401, 403, 429)
is nobody's usage.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lanza.endpoints.loads import Pending
from lanza.endpoints.usage import Used
from lanza.gateway.targets import Target


@dataclass(slots=True)
class Sums:
    """Of one minute and one token."""

    requests: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def add(self, other: Sums) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)


@dataclass(slots=True)
class Marks:
    """What is to be known of replicas when they end, by their ids: those that were given a first request, and
    those that broke off an answer.
    """

    asked: set[str] = field(default_factory=set)
    broke: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.asked or self.broke)

    def add(self, other: Marks) -> None:
        self.asked |= other.asked
        self.broke |= other.broke

    def take(self) -> Marks:
        taken = Marks(asked=set(self.asked), broke=set(self.broke))
        self.asked.clear()
        self.broke.clear()
        return taken


@dataclass(slots=True)
class Tally:
    """Of one endpoint, in this process. `open` requests are anywhere between its first byte and its last;
    `in_flight` of them are with a replica, `held` wait for one. `sums` are by minute since 1970 and token.
    `marks` are all endpoints' together.
    """

    endpoint_id: int
    label: str
    marks: Marks = field(default_factory=Marks)
    open: int = 0
    in_flight: int = 0
    held: int = 0
    ready: int = 0
    last_request: float = 0.0
    sums: dict[tuple[int, str], Sums] = field(default_factory=dict)

    def count(
        self, at: float, token: str, *, seconds: float, failed: bool, tokens_in: int, tokens_out: int
    ) -> None:
        key = (int(at // 60), token)
        sums = self.sums.get(key)
        if sums is None:
            sums = self.sums[key] = Sums()
        sums.requests += 1
        sums.errors += failed
        sums.tokens_in += tokens_in
        sums.tokens_out += tokens_out
        sums.seconds += seconds
        sums.slowest = max(sums.slowest, seconds)


@dataclass(frozen=True, kw_only=True)
class Minute:
    """One point of an endpoint's chart, so far."""

    endpoint_id: int
    minute: int
    sums: Sums
    ready: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is to be written together."""

    used: list[Used]
    minutes: list[Minute]
    pending: dict[int, Pending]
    last_requests: dict[int, datetime]
    marks: Marks
    taken: list[tuple[Tally, dict[tuple[int, str], Sums], float]]

    @property
    def empty(self) -> bool:
        return not (self.used or self.pending or self.last_requests or self.marks)


class Meter:
    """Belongs to one event loop. `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._tallies: dict[int, Tally] = {}
        self._marks = Marks()

    def of(self, target: Target) -> Tally:
        tally = self._tallies.get(target.id)
        if tally is None:
            tally = self._tallies[target.id] = Tally(target.id, target.label, self._marks)
        tally.ready = len(target.places)
        return tally

    def take(self) -> Batch:
        """All that was counted since the last time, and what is under way."""
        marks = self._marks.take()
        batch = Batch(used=[], minutes=[], pending={}, last_requests={}, marks=marks, taken=[])
        for tally in list(self._tallies.values()):
            sums, tally.sums = tally.sums, {}
            asked, tally.last_request = tally.last_request, 0.0
            if tally.in_flight or tally.held:
                batch.pending[tally.endpoint_id] = Pending(in_flight=tally.in_flight, held=tally.held)
            elif not (sums or asked or tally.open):
                del self._tallies[tally.endpoint_id]
                continue
            if asked:
                batch.last_requests[tally.endpoint_id] = datetime.fromtimestamp(asked, UTC)
            batch.taken.append((tally, sums, asked))
            batch.used.extend(_used(tally.label, sums))
            batch.minutes.extend(_minutes(tally, sums))
        return batch

    def put_back(self, batch: Batch) -> None:
        """What could not be written is written with what comes."""
        self._marks.add(batch.marks)
        for tally, sums, asked in batch.taken:
            present = self._tallies.setdefault(tally.endpoint_id, tally)
            present.last_request = max(present.last_request, asked)
            for key, one in sums.items():
                present.sums.setdefault(key, Sums()).add(one)


def _used(label: str, sums: dict[tuple[int, str], Sums]) -> list[Used]:
    days: dict[tuple[str, str], Sums] = {}
    for (minute, token), one in sums.items():
        day = datetime.fromtimestamp(minute * 60, UTC).date().isoformat()
        days.setdefault((day, token), Sums()).add(one)
    return [
        Used(
            endpoint=label,
            day=day,
            token=token,
            requests=one.requests,
            errors=one.errors,
            tokens_in=one.tokens_in,
            tokens_out=one.tokens_out,
        )
        for (day, token), one in days.items()
    ]


def _minutes(tally: Tally, sums: dict[tuple[int, str], Sums]) -> list[Minute]:
    minutes: dict[int, Sums] = {}
    for (minute, _), one in sums.items():
        minutes.setdefault(minute, Sums()).add(one)
    return [
        Minute(endpoint_id=tally.endpoint_id, minute=minute, sums=one, ready=tally.ready)
        for minute, one in minutes.items()
    ]
