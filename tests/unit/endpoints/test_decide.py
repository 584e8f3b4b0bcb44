"""`decide` by properties: what each answer may ask for, and where a world goes that does what it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from lanza.endpoints.decide import (
    LONGEST_BACK_OFF,
    MOST_FAILURES,
    Decision,
    Failures,
    Falls,
    Money,
    Seen,
    SeenReplica,
    decide,
)
from lanza.endpoints.spec import Scaling
from lanza.endpoints.states import LIVE, Intent, Phase, State

NOW: Final = 1_000_000.0


@st.composite
def replicas(draw: st.DrawFn) -> list[SeenReplica]:
    phases = draw(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Phase)), max_size=9))
    return [
        SeenReplica(id=str(number), revision=revision, phase=phase, since=NOW - 100 + number)
        for number, (revision, phase) in enumerate(phases)
    ]


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    most = draw(st.integers(1, 8))
    return Scaling(min_replica=draw(st.integers(0, most)), max_replica=most)


@st.composite
def sights(draw: st.DrawFn) -> Seen:
    """Anything that may be seen, also what no sequence of looks brings about."""
    scaling = draw(scalings())
    least = max(1, scaling.min_replica)
    revision = draw(st.integers(1, 3))
    return Seen(
        intent=draw(st.sampled_from(Intent)),
        revision=revision,
        serving=draw(st.none() | st.integers(1, revision)),
        scaling=scaling,
        desired=draw(st.integers(least, scaling.max_replica)),
        replicas=draw(replicas()),
        idle=draw(st.sampled_from([0.0, 10_000.0])),
        money=draw(st.sampled_from([Money(), Money(spent=0.9, budget=1.0), Money(spent=1.0, budget=1.0)])),
        failures=Failures(
            count=draw(st.integers(0, MOST_FAILURES + 1)),
            killed=draw(st.sampled_from([0, 1])),
            last=draw(st.sampled_from([0.0, NOW, NOW + 100])),
            reason="it raises",
        ),
        falls=Falls(
            count=draw(st.integers(0, 100)),
            since=NOW - 600,
            last=draw(st.sampled_from([0.0, NOW - 20, NOW, NOW + 100])),
            how="while it answered: it was ended by SIGSEGV",
        ),
        expires=draw(st.sampled_from([None, NOW - 1, NOW, NOW + 1])),
        no_room=draw(st.sampled_from(["", "the machine is full"])),
    )


def live(seen: Seen) -> list[SeenReplica]:
    return [it for it in seen.replicas if it.phase in LIVE]


def after(seen: Seen, decision: Decision) -> Seen:
    """What is seen when all that was decided is begun."""
    stopped = [replace(it, phase=Phase.DRAINING) if it.id in decision.stop else it for it in seen.replicas]
    started = [
        SeenReplica(id=f"new {number}", revision=revision, phase=Phase.STARTING, since=NOW)
        for number, revision in enumerate(decision.start)
    ]
    return replace(
        seen,
        intent=decision.intent or seen.intent,
        serving=decision.proven or seen.serving,
        replicas=[*stopped, *started],
    )


@given(sights())
def test_never_more_than_a_quarter_over_the_most(seen: Seen) -> None:
    most = seen.scaling.max_replica + max(1, seen.scaling.max_replica // 4)
    decision = decide(seen, NOW)
    if decision.start:
        assert len(live(after(seen, decision))) <= most


@given(sights())
def test_nothing_is_started_for_what_is_not_to_run(seen: Seen) -> None:
    decision = decide(seen, NOW)
    expired = seen.expires is not None and seen.expires <= NOW
    if seen.intent is not Intent.RUN or expired or seen.money.over or decision.intent is not None:
        assert decision.start == ()
        assert {*decision.stop} == {it.id for it in live(seen)}


@given(sights())
def test_what_is_started_is_wanted_or_serves(seen: Seen) -> None:
    decision = decide(seen, NOW)
    assert {*decision.start} <= {seen.revision, seen.serving, decision.proven}
    if seen.failures.given_up:
        assert seen.revision not in decision.start
    if seen.no_room or not seen.failures.may_start(NOW) or not seen.falls.may_start(NOW):
        assert decision.start == ()
    if any(it.phase is Phase.GONE for it in seen.replicas):  # its end is not judged yet
        assert decision.start == ()


@given(sights())
def test_falls_fail_nothing_and_stop_nothing(seen: Seen) -> None:
    """Whatever callers do to replicas: an endpoint is what it were without, but for starts that wait."""
    decision = decide(seen, NOW)
    without = decide(replace(seen, falls=Falls()), NOW)
    assert (decision.intent, decision.proven, decision.removed) == (
        without.intent,
        without.proven,
        without.removed,
    )
    assert decision.stop == without.stop
    assert decision.start in ((), without.start)
    if decision.state is not without.state:
        assert (without.state, decision.state) == (State.PENDING, State.INITIALIZING)


@given(sights())
def test_what_is_ready_is_never_stopped_for_others_that_do_not_start(seen: Seen) -> None:
    ready = [it for it in seen.replicas if it.phase is Phase.READY and it.revision == seen.revision]
    if ready:
        decision = decide(seen, NOW)
        assert decision.state not in (State.FAILED, State.UPDATE_FAILED)


@given(sights())
def test_trouble_is_said(seen: Seen) -> None:
    decision = decide(seen, NOW)
    if decision.state in (State.RUNNING, State.INITIALIZING) and seen.falls.count:
        assert decision.message


@given(sights())
def test_only_what_lives_is_stopped_and_each_once(seen: Seen) -> None:
    stop = decide(seen, NOW).stop
    assert len(set(stop)) == len(stop)
    assert {*stop} <= {it.id for it in live(seen)}


@given(sights())
def test_the_old_serve_until_a_new_one_does(seen: Seen) -> None:
    decision = decide(seen, NOW)
    ready = [it for it in seen.replicas if it.phase is Phase.READY]
    if decision.state is not State.UPDATING:
        return
    left = [it for it in ready if it.id not in decision.stop]
    makes_way = bool(seen.no_room) and all(it.phase is not Phase.DRAINING for it in seen.replicas)
    assert len(left) >= min(seen.desired, len(ready)) - makes_way


@given(sights())
def test_with_enough_ready_as_many_stay_ready(seen: Seen) -> None:
    """Whatever is replaced: those that answer are never fewer than wanted because of a decision."""
    decision = decide(seen, NOW)
    if decision.state is not State.RUNNING or seen.no_room:
        return
    ready = [it for it in seen.replicas if it.phase is Phase.READY]
    left = [it for it in ready if it.id not in decision.stop]
    assert len(left) >= min(seen.desired, len(ready))


@given(sights())
def test_removed_only_when_nothing_is_left(seen: Seen) -> None:
    decision = decide(seen, NOW)
    gone = all(it.phase is Phase.GONE for it in seen.replicas)
    wanted = seen.intent is Intent.REMOVE or (seen.expires is not None and seen.expires <= NOW)
    assert decision.removed == (gone and wanted)


@given(sights())
def test_what_is_begun_is_not_asked_for_again(seen: Seen) -> None:
    first = decide(seen, NOW)
    begun = after(seen, first)
    # What has just proven itself was not idle for long, and is seen so at the next look.
    again = decide(replace(begun, idle=0.0) if first.proven else begun, NOW)
    assert again.stop == ()
    assert again.intent is None
    if first.start:
        # Room that was made by stopping may let more begin, but never what had begun already.
        assert len(again.start) + len(first.start) <= 2 * seen.desired + 1


# A world that does what is decided


@dataclass
class Simulated:
    """Replicas that are ready or fail after a few looks, and drain for a few. `bad` revisions fail."""

    seen: Seen
    bad: frozenset[int]
    start_looks: int
    drain_looks: int
    room: int
    now: float = NOW
    looks: int = 0
    begun: int = 0
    ages: dict[str, int] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def look(self) -> Decision:
        decision = decide(self.seen, self.now)
        assert not self.seen.failures.given_up or self.seen.revision not in decision.start
        self._begin(decision)
        self._live_on()
        self.now += 0.5
        self.seen = replace(self.seen, idle=self.seen.idle + 0.5 if self.seen.idle else 0.0)
        self.decisions.append(decision)
        return decision

    def _begin(self, decision: Decision) -> None:
        self.seen = replace(after(self.seen, replace(decision, start=())), no_room="")
        for revision in decision.start:
            if sum(it.phase is not Phase.GONE for it in self.seen.replicas) >= self.room:
                self.seen = replace(self.seen, no_room="the machine is full")
                return
            self.begun += 1
            one = SeenReplica(id=f"r{self.begun}", revision=revision, phase=Phase.STARTING, since=self.now)
            self.seen = replace(self.seen, replicas=[*self.seen.replicas, one])

    def _live_on(self) -> None:
        left = []
        for it in self.seen.replicas:
            age = self.ages[it.id] = self.ages.get(it.id, 0) + 1
            if it.phase is Phase.STARTING and age >= self.start_looks:
                if it.revision in self.bad:
                    self._fail(it.revision)
                    continue
                left.append(replace(it, phase=Phase.READY))
            elif it.phase is Phase.DRAINING and age >= self.start_looks + self.drain_looks:
                self.seen = replace(self.seen, no_room="")
            elif it.phase is not Phase.GONE:
                left.append(it)
        self.seen = replace(self.seen, replicas=left)

    def _fail(self, revision: int) -> None:
        if revision == self.seen.revision:
            failed = Failures(count=self.seen.failures.count + 1, last=self.now, reason="it raises")
            self.seen = replace(self.seen, failures=failed)


@st.composite
def worlds(draw: st.DrawFn) -> Simulated:
    """A world as looks leave it: what runs was wanted once, and what serves had proven itself."""
    scaling = draw(scalings())
    revision = draw(st.integers(1, 2))
    serving = draw(st.sampled_from([None, *range(1, revision + 1)]))
    bad = frozenset(draw(st.sets(st.integers(1, 2)))) - {serving}
    were = [it for it in draw(replicas()) if it.revision <= revision]
    return Simulated(
        seen=Seen(
            intent=draw(st.sampled_from([Intent.RUN, Intent.RUN, Intent.ZERO, Intent.PAUSE, Intent.REMOVE])),
            revision=revision,
            serving=serving,
            scaling=scaling,
            desired=draw(st.integers(max(1, scaling.min_replica), scaling.max_replica)),
            replicas=[it for it in were if it.phase is not Phase.READY or it.revision not in bad],
            idle=draw(st.sampled_from([0.0, 100_000.0])),
            money=draw(st.sampled_from([Money(), Money(spent=2.0, budget=1.0)])),
        ),
        bad=bad,
        start_looks=draw(st.integers(1, 5)),
        drain_looks=draw(st.integers(1, 5)),
        room=draw(st.integers(1, 12)),
    )


LONG: Final = 160
"""Looks, of half a second each, after which all is settled."""
SETTLED: Final = {State.RUNNING, State.FAILED, State.UPDATE_FAILED, State.PAUSED, State.SCALED_TO_ZERO}


@given(worlds())
@example(
    Simulated(
        seen=Seen(
            intent=Intent.RUN,
            revision=2,
            serving=1,
            scaling=Scaling(max_replica=3, min_replica=3),
            desired=3,
            replicas=[SeenReplica(id=str(n), revision=1, phase=Phase.READY, since=NOW) for n in range(3)],
            idle=0.0,
        ),
        bad=frozenset(),
        start_looks=3,
        drain_looks=3,
        room=3,
    )
)
def test_every_world_comes_to_rest_and_stays_there(world: Simulated) -> None:
    for _ in range(LONG):
        world.look()
    quiet = world.decisions[-40:]
    assert {it.state for it in quiet} <= SETTLED
    assert len({it.state for it in quiet}) == 1
    assert not any(it.stop or it.intent or it.proven for it in quiet)
    if quiet[-1].state in (State.RUNNING, State.UPDATE_FAILED):
        assert min(world.seen.desired, world.room) <= len(live(world.seen)) <= world.seen.desired
        assert all(it.revision not in world.bad for it in world.seen.replicas)
    else:
        assert live(world.seen) == []


@given(worlds())
def test_states_do_not_flap(world: Simulated) -> None:
    """A state that was left may come back once, by a wish or a failure, and not again and again."""
    for _ in range(LONG):
        world.look()
    changes = [one.state for before, one in pairwise(world.decisions) if before.state is not one.state]
    assert all(changes.count(state) <= 2 for state in changes)


@given(worlds())
def test_an_update_is_not_without_a_ready_replica_when_there_is_room(world: Simulated) -> None:
    ready = [it for it in world.seen.replicas if it.phase is Phase.READY]
    if world.seen.intent is not Intent.RUN or world.seen.money.over or world.seen.idle or not ready:
        return
    world.room = 100
    for _ in range(100):
        world.look()
        assert any(it.phase is Phase.READY for it in world.seen.replicas)


# Failures


@given(st.integers(0, 10), st.integers(0, 2**31), st.integers(-(10**6), 10**6))
def test_a_start_waits_after_a_failure_but_not_for_long(count: int, last: int, later: int) -> None:
    failures = Failures(count=count, last=last)
    may = failures.may_start(last + later)
    if later < 0 or later >= LONGEST_BACK_OFF or not count:
        assert may
    if count and later == 0:
        assert not may


@given(st.integers(0, 10**6), st.integers(0, 2**31), st.integers(-(10**6), 10**6))
def test_a_start_waits_after_a_fall_but_not_for_long(count: int, last: int, later: int) -> None:
    may = Falls(count=count, last=last).may_start(last + later)
    if later < 0 or later >= LONGEST_BACK_OFF or not count:
        assert may
    if count and later == 0:
        assert not may


def test_kills_before_it_is_ready_count_half() -> None:
    counts = range(3 * MOST_FAILURES)
    assert [it for it in counts if Failures(count=it).given_up] == [*counts[MOST_FAILURES:]]
    assert [it for it in counts if Failures(count=it, killed=it).given_up] == [*counts[2 * MOST_FAILURES :]]


def test_falls_in_words() -> None:
    how = "while it answered: the system killed it"
    assert str(Falls()) == ""
    assert str(Falls(count=1, since=NOW, last=NOW, how=how)) == f"a replica ended {how}"
    few = Falls(count=2, since=NOW - 20, last=NOW, how=how)
    assert str(few) == f"replicas ended 2 times in 20 s, the last one {how}"
    many = Falls(count=4, since=NOW - 600, last=NOW, how=how)
    assert str(many) == f"replicas ended 4 times in 10 min, the last one {how}"


@given(st.integers(1, 10), st.floats(0, 40))
def test_more_failures_never_wait_less(count: int, later: float) -> None:
    few, more = Failures(count=count, last=NOW), Failures(count=count + 1, last=NOW)
    assert few.may_start(NOW + later) or not more.may_start(NOW + later)


def alive(revisions: Sequence[int]) -> list[SeenReplica]:
    return [
        SeenReplica(id=str(number), revision=revision, phase=Phase.READY, since=NOW)
        for number, revision in enumerate(revisions)
    ]


def running(**changes: object) -> Seen:
    seen = Seen(
        intent=Intent.RUN,
        revision=2,
        serving=1,
        scaling=Scaling(max_replica=4, min_replica=4),
        desired=4,
        replicas=alive([1, 1, 1, 1]),
        idle=0.0,
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def test_old_replicas_make_way_one_by_one() -> None:
    seen = running(no_room="full")
    first = decide(seen, NOW)
    assert len(first.stop) == 1
    assert decide(after(seen, first), NOW + 0.5).stop == ()


def test_old_replicas_that_die_during_an_update_are_replaced() -> None:
    assert decide(running(replicas=alive([1, 1, 1])), NOW).start == (2, 1)


def test_those_that_start_are_not_stopped_because_the_ready_one_died() -> None:
    starting = [replace(it, phase=Phase.STARTING) for it in alive([1, 1, 1])]
    assert decide(running(revision=1, replicas=starting), NOW).stop == ()


def test_at_most_five_of_four_live_during_an_update() -> None:
    seen = running(replicas=alive([1, 1, 1, 1, 2]))
    decision = decide(seen, NOW)
    assert decision.proven == 2
    assert (len(decision.stop), decision.start) == (1, (2,))
