"""Replicas that end by themselves: which ends speak against a revision, and what a caller can bring about."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from endpoint_world import World
from lanza.endpoints.decide import LONGEST_BACK_OFF, MOST_FAILURES
from lanza.endpoints.states import State

TWO = {"scaling": {"minReplica": 2, "maxReplica": 2}}


def end(world: World, *replicas: str, reason: str = "it was ended by SIGSEGV", **more: Any) -> None:
    world.platform.end(*replicas, failed=True, reason=reason, at=world.clock.now, **more)


def begun(world: World, seconds: int, each: Any) -> list[int]:
    """Call `each` with the replicas that run, once a second; gives when replicas were started."""
    moments = []
    for second in range(seconds):
        before = len(world.platform.orders)
        world.look()
        if len(world.platform.orders) > before:
            moments.append(second)
            world.look()
        each(world.platform.running)
        world.clock.now += 1
    return moments


def test_a_request_that_ends_each_replica_fails_nothing(world: World) -> None:
    world.create()
    world.pass_time(3)

    def poison(running: list[str]) -> None:
        assert world.endpoint.state in (State.RUNNING, State.INITIALIZING)
        if running:
            end(world, *running, reason="the system killed it")
            world.mark(*running, broke=True)

    moments = begun(world, 400, poison)
    pauses = [later - one for one, later in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= LONGEST_BACK_OFF
    assert world.endpoint.failures == 0
    said = world.endpoint.message
    assert said.startswith(
        f"recovering: replicas ended {len(moments) + 1} times in 6 min, the last one while it"
    )
    assert "the system killed it" in said
    assert world.notices == []
    world.pass_time(120)
    assert (world.endpoint.state, world.endpoint.message, world.endpoint.falls) == (State.RUNNING, "", 0)


def test_others_serve_on_while_one_is_replaced(world: World) -> None:
    world.create(compute=TWO)
    world.pass_time(4)
    one, other = world.platform.running
    end(world, one)
    world.mark(one, broke=True)
    world.look()
    assert (world.endpoint.state, world.platform.running) == (State.RUNNING, [other])
    assert world.endpoint.message == "a replica ended while it answered: it was ended by SIGSEGV"
    world.pass_time(3)
    assert len(world.platform.running) == 2


def test_one_that_ends_soon_and_was_never_asked_is_a_crash_loop(world: World) -> None:
    world.create()
    moments = begun(world, 60, lambda running: end(world, *running) if running else None)
    assert len(moments) == MOST_FAILURES
    assert world.endpoint.state == State.FAILED
    assert world.endpoint.message == "it was ended by SIGSEGV"


def test_one_that_was_asked_and_ends_afterwards_has_fallen(world: World) -> None:
    """What a request left behind may end it later: no answer breaks off then."""
    world.create()
    world.pass_time(3)
    for _ in range(12):
        for name in world.platform.running:
            world.mark(name, broke=False)
            end(world, name)
        world.pass_time(32)
    assert world.endpoint.failures == 0
    assert "the last one by itself" in world.endpoint.message


def test_the_word_of_workers_is_waited_for(world: World) -> None:
    world.create()
    world.pass_time(3)
    [name] = world.platform.running
    end(world, name)
    orders = len(world.platform.orders)
    world.pass_time(1, step=0.5)
    assert (world.endpoint.failures, world.endpoint.falls) == (0, 0)
    assert len(world.platform.orders) == orders
    world.mark(name, broke=True)
    world.look()
    assert (world.endpoint.failures, world.endpoint.falls) == (0, 1)
    assert world.replicas == []
    world.pass_time(3)
    assert world.endpoint.state == State.RUNNING


def test_one_that_was_well_for_long_has_fallen_whoever_asked(world: World) -> None:
    world.create()
    world.pass_time(90)
    end(world)
    world.pass_time(3)
    assert (world.endpoint.failures, world.endpoint.falls) == (0, 1)


def test_what_kills_itself_before_it_is_ready_is_given_up_after_pauses(world: World) -> None:
    world.platform.instant = False
    world.create()
    said = "it was killed (SIGKILL) before it was ready; it said last:\n    bye"
    moments = begun(
        world, 300, lambda running: end(world, *running, reason=said, killed=True) if running else None
    )
    assert len(moments) == 2 * MOST_FAILURES
    assert moments[-1] - moments[-2] >= LONGEST_BACK_OFF
    assert (world.endpoint.state, world.endpoint.message) == (State.FAILED, said)


def test_kills_are_forgotten_when_one_becomes_ready(world: World) -> None:
    world.platform.instant = False
    world.create()
    for _ in range(3 * MOST_FAILURES):
        world.look()
        if world.platform.running:
            end(world, *world.platform.running, killed=True)
        world.clock.now += 2
        world.look()
        world.clock.now += 2
        world.look()
        world.platform.become_ready()
        world.look()
        world.platform.end(failed=False)
    assert world.endpoint.state in (State.RUNNING, State.INITIALIZING)
    assert world.endpoint.failures <= 1


def test_what_serves_is_not_stopped_for_others_that_do_not_start(world: World) -> None:
    world.create()
    world.pass_time(90)
    [good] = world.platform.running
    world.platform.instant = False
    world.change(compute=TWO)

    def fail_others(running: list[str]) -> None:
        assert good in running
        assert world.endpoint.state == State.RUNNING
        for name in set(running) - {good}:
            end(world, name, reason="no memory is left for it")

    moments = begun(world, 60, fail_others)
    assert len(moments) == MOST_FAILURES
    assert world.endpoint.message == "no further replica starts: no memory is left for it"
    assert begun(world, 60, fail_others) != []  # after a while it is tried again
    world.platform.instant = True
    world.pass_time(300)
    assert len(world.platform.running) == 2
    assert world.endpoint.message == ""
