"""What to do about one endpoint now: a pure function of what is wanted, what is seen, and the time.

    wanted (spec, intent) ─┐
    seen (replicas, load) ─┼─▶ decide ─▶ state and message to show, replicas to start and to stop,
    money, failures, now  ─┘             a new intent, a revision that has proven itself

It is asked again and again, so it remembers nothing and plans no steps: each answer is right for what is
seen, whatever was done or failed before. A crash anywhere is repaired by the next look.

A revision proves itself by one ready replica. Until then the one before serves on, also for good when the new
one is given up (`MOST_FAILURES` starts in a row). Old replicas are stopped one by one as new ones become
ready.

What speaks against a revision is a start: a replica that does not become ready, or ends soon after without
ever having been asked (`Failures`). One that has served and ends, be it under a request that whoever may call
can send again, is replaced after a pause that grows (`Falls`), and never makes an endpoint fail. Nor does
anything while a replica is ready: others that do not start are then no reason to stop it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lanza.endpoints.spec import Scaling
from lanza.endpoints.states import LIVE, Intent, Phase, State

MOST_FAILURES: Final = 4
"""Starts of one revision that may fail in a row, before it is given up."""
LONGEST_BACK_OFF: Final = 30.0
WARN_AT: Final = 0.8
"""The share of its budget at which an endpoint's owner is warned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenReplica:
    """A replica that was started and whose end was not yet dealt with."""

    id: str
    revision: int
    phase: Phase
    since: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """How often the wanted revision could not be started, in a row; when last, and why.

    `killed` of them were ended by a SIGKILL. Those count half, for it may have been an operator's.
    """

    count: int = 0
    killed: int = 0
    last: float = 0.0
    reason: str = ""

    @property
    def given_up(self) -> bool:
        return 2 * self.count - self.killed >= 2 * MOST_FAILURES

    def may_start(self, now: float) -> bool:
        """Whether the pause after the last failure is over."""
        return _is_rested(self.count, self.last, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Falls:
    """How many replicas that had served have ended by themselves, since all was well: the first of them at
    `since`, the last at `last` and as `how` says.
    """

    count: int = 0
    since: float = 0.0
    last: float = 0.0
    how: str = ""

    def may_start(self, now: float) -> bool:
        """Whether the pause after the last one is over."""
        return _is_rested(self.count, self.last, now)

    def __str__(self) -> str:
        if not self.count:
            return ""
        if self.count == 1:
            return f"a replica ended {self.how}"
        seconds = max(1.0, self.last - self.since)
        span = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
        return f"replicas ended {self.count} times in {span}, the last one {self.how}"


def _is_rested(count: int, last: float, now: float) -> bool:
    """Whether a pause is over: 1 s after the first time, then twice as long each time."""
    if not count:
        return True
    pause = min(2.0 ** (min(count, 30) - 1), LONGEST_BACK_OFF)
    return not last <= now < last + pause  # a clock that was set back ends the pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """What was spent in the budget's period, and the budget; None: no bound."""

    spent: float = 0.0
    budget: float | None = None
    period: str = "month"

    @property
    def over(self) -> bool:
        return self.budget is not None and self.spent >= self.budget

    @property
    def warns(self) -> bool:
        return self.budget is not None and self.spent >= WARN_AT * self.budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """All that a decision is made of.

    `revision` is wanted, `serving` the last that has proven itself. `desired` is the autoscaler's number.
    `idle` is for how many seconds nobody has asked, and nobody waits. `no_room` is why the last start was
    refused by the platform for want of cores or memory, or empty. `passing`: it goes for good, instead of to
    zero. A replica that is `GONE` has just ended, and whether that was a failure or a fall is not known yet.
    """

    intent: Intent
    revision: int
    serving: int | None
    scaling: Scaling
    desired: int
    replicas: Sequence[SeenReplica]
    idle: float
    money: Money = Money()
    failures: Failures = Failures()
    falls: Falls = Falls()
    expires: float | None = None
    no_room: str = ""
    passing: bool = False

    def may_start(self, now: float) -> bool:
        """Whether a replica may be started at all."""
        judged = all(it.phase is not Phase.GONE for it in self.replicas)
        return judged and not self.no_room and self.failures.may_start(now) and self.falls.may_start(now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to be shown, stored and done. `start` are revisions, `stop` ids of replicas."""

    state: State
    message: str = ""
    intent: Intent | None = None
    proven: int | None = None
    start: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    removed: bool = False


def decide(seen: Seen, now: float) -> Decision:  # noqa: PLR0911 -- one line for each case
    """See the module. Never raises."""
    if seen.intent is Intent.REMOVE or (seen.expires is not None and now >= seen.expires):
        return _remove(seen)
    if seen.intent is Intent.PAUSE:
        return _at_rest(seen, State.PAUSED)
    if seen.money.over:
        money = seen.money
        said = f"paused: {money.spent:.2f} of {money.budget:.2f} dollars are spent ({_PERIODS[money.period]})"
        return _at_rest(seen, State.PAUSED, intent=Intent.PAUSE, message=said)
    if seen.passing and (seen.intent is Intent.ZERO or _is_over(seen)):
        return _remove(seen)
    if seen.intent is Intent.ZERO:
        return _at_rest(seen, State.SCALED_TO_ZERO)
    if _may_rest(seen):
        return _at_rest(seen, State.SCALED_TO_ZERO, intent=Intent.ZERO)
    if seen.failures.given_up and not _ready(seen, seen.revision):
        return _fall_back(seen, now)
    return _run(seen, now)


_PERIODS: Final = {"day": "today", "month": "this month", "total": "in all"}


def _remove(seen: Seen) -> Decision:
    left = [it for it in seen.replicas if it.phase is not Phase.GONE]
    return Decision(
        state=State.PAUSED,
        message="being removed",
        intent=None if seen.intent is Intent.REMOVE else Intent.REMOVE,
        stop=_ids(_live(seen)),
        removed=not left,
    )


def _at_rest(seen: Seen, state: State, *, intent: Intent | None = None, message: str = "") -> Decision:
    return Decision(state=state, message=message, intent=intent, stop=_ids(_live(seen)))


def _may_rest(seen: Seen) -> bool:
    """Whether it goes to zero: nobody has asked for long, and it has proven itself."""
    proven = seen.serving == seen.revision or seen.failures.given_up
    ready = any(it.phase is Phase.READY for it in seen.replicas)
    return seen.scaling.min_replica == 0 and proven and ready and seen.idle >= seen.scaling.idle_seconds


def _is_over(seen: Seen) -> bool:
    """Whether nobody is served by it any more: at rest, or given up and asked for by nobody."""
    idle = seen.idle >= seen.scaling.idle_seconds
    return _may_rest(seen) or (seen.failures.given_up and idle)


def _fall_back(seen: Seen, now: float) -> Decision:
    """The wanted revision was given up: the one before serves on, if there is one."""
    reason = seen.failures.reason
    wrong = [it for it in _live(seen) if it.revision != seen.serving]
    if seen.serving is None or seen.serving == seen.revision:
        return Decision(state=State.FAILED, message=reason, stop=_ids(_live(seen)))
    good = [it for it in _live(seen) if it.revision == seen.serving]
    missing = max(0, seen.desired - len(good))
    said = f"revision {seen.revision} does not start, so {seen.serving} serves on: {reason}"
    return Decision(
        state=State.UPDATE_FAILED,
        message=said,
        start=(seen.serving,) * (missing if seen.may_start(now) else 0),
        stop=_ids([*wrong, *_surplus(good, seen.desired)]),
    )


def _run(seen: Seen, now: float) -> Decision:
    live = _live(seen)
    new = [it for it in live if it.revision == seen.revision]
    old = [it for it in live if it.revision != seen.revision]
    ready = _ready(seen, seen.revision)
    old_ready = [it for it in old if it.phase is Phase.READY]
    proven = _proven([*ready, *old_ready], seen)
    serving = proven or seen.serving
    # Until one is ready, one replica is tried: beside those that serve, or for all who wait.
    missing = max(0, (seen.desired if ready else 1) - len(new))
    stop = [*_surplus(new, seen.desired), *_unneeded(old, len(ready), serving, seen.desired)]
    if missing and seen.no_room and old_ready and not stop and not _in_motion(seen):
        stop.append(old_ready[-1])  # no room for both: requests are held while one makes way for the other
    start = (seen.revision,) * missing
    if old and not ready and serving not in (None, seen.revision):
        start += (serving,) * max(0, seen.desired - len(old))  # an update may take long
    held_back = seen.failures.given_up or not seen.may_start(now)
    may = 0 if held_back else _most(seen) - len(live) + len(stop)
    return Decision(
        state=_state(seen, new, ready, old_ready),
        message=seen.no_room if missing and seen.no_room else _what_is_wrong(seen, serves=bool(ready)),
        proven=proven,
        start=start[: max(0, may)],
        stop=_ids(stop),
    )


def _what_is_wrong(seen: Seen, *, serves: bool) -> str:
    """With replicas of what is wanted; empty when nothing is. `serves`: one of them is ready."""
    if not serves:
        return seen.failures.reason or (f"recovering: {seen.falls}" if seen.falls.count else "")
    if seen.failures.given_up:
        return f"no further replica starts: {seen.failures.reason}"
    return str(seen.falls)


def _ready(seen: Seen, revision: int) -> list[SeenReplica]:
    return [it for it in seen.replicas if it.phase is Phase.READY and it.revision == revision]


def _proven(ready: Sequence[SeenReplica], seen: Seen) -> int | None:
    """A revision later than the one that serves, of which a replica is ready; perhaps wanted no more."""
    latest = max((it.revision for it in ready if it.revision <= seen.revision), default=0)
    return latest if latest > (seen.serving or 0) else None


def _most(seen: Seen) -> int:
    """How many replicas may live at once: a quarter more than `maxReplica`, for an update."""
    return seen.scaling.max_replica + max(1, seen.scaling.max_replica // 4)


def _in_motion(seen: Seen) -> bool:
    """Whether one is about to make room, or has just found some."""
    return any(
        it.phase is Phase.DRAINING or (it.phase is Phase.STARTING and it.revision == seen.revision)
        for it in seen.replicas
    )


def _state(
    seen: Seen, new: Sequence[SeenReplica], ready: Sequence[SeenReplica], old_ready: Sequence[SeenReplica]
) -> State:
    if ready:
        return State.RUNNING
    if old_ready:
        return State.UPDATING
    return State.INITIALIZING if new or seen.failures.count or seen.falls.count else State.PENDING


def _unneeded(old: Sequence[SeenReplica], ready: int, serving: int | None, desired: int) -> list[SeenReplica]:
    """Which of the old ones are not needed: once a new one is ready those that start, and one for each."""
    late = [it for it in old if it.phase is Phase.STARTING and (ready or it.revision != serving)]
    others = [it for it in old if it not in late]
    return [*late, *_surplus(others, max(0, desired - ready))]


def _surplus(replicas: Sequence[SeenReplica], most: int) -> list[SeenReplica]:
    """Those over `most`: first what only starts, then the youngest."""
    order = sorted(replicas, key=lambda it: (it.phase is not Phase.READY, it.since))
    return order[most:]


def _live(seen: Seen) -> list[SeenReplica]:
    return [it for it in seen.replicas if it.phase in LIVE]


def _ids(replicas: Sequence[SeenReplica]) -> tuple[str, ...]:
    return tuple(it.id for it in replicas)
