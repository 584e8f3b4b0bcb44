"""The loop over a database and a platform without processes, with time as the tests say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from endpoint_world import World
from lanza.auth import audit
from lanza.endpoints import store, usage
from lanza.endpoints.notices import Event
from lanza.endpoints.orders import Stock
from lanza.endpoints.repositories import Base
from lanza.endpoints.spec import Budget
from lanza.endpoints.states import State
from lanza.errors import BadRequest, NotFound

ONE_MINUTE = {"compute": {"scaling": {"scaleToZeroTimeout": 1}}}


def test_a_new_endpoint_proves_itself_and_goes_to_zero_when_idle(world: World) -> None:
    world.create(**ONE_MINUTE)
    world.look()
    assert world.endpoint.state == State.PENDING
    world.pass_time(3)
    assert (world.endpoint.state, world.endpoint.serving) == (State.RUNNING, 1)
    assert [it.address for it in world.replicas] == [f"unix:/run/{name}" for name in world.platform.running]
    world.pass_time(55)
    assert world.endpoint.state == State.RUNNING
    world.pass_time(10)
    assert world.endpoint.state == State.SCALED_TO_ZERO
    assert world.replicas == []
    assert world.platform.running == []


def test_who_asks_keeps_it_awake(world: World) -> None:
    world.create(**ONE_MINUTE)
    for _ in range(4):
        world.pass_time(40)
        world.ask()
    assert world.endpoint.state == State.RUNNING


def test_many_that_wake_it_start_one_replica(world: World) -> None:
    world.create(**ONE_MINUTE)
    world.pass_time(70)
    number = world.endpoint.id
    woken = [world.act(lambda session, _: store.wake(session, number, world.moment)) for _ in range(200)]
    assert woken.count(True) == 1
    world.ask(held=200)
    world.pass_time(2)
    assert world.endpoint.state == State.RUNNING
    assert len(world.replicas) == 1


def test_what_is_paused_stays_so_and_nobody_wakes_it(world: World) -> None:
    world.create()
    world.pass_time(3)
    world.act(store.pause)
    assert world.endpoint.state == State.PAUSED
    world.look()
    world.look()
    assert world.replicas == []
    assert not world.act(lambda session, it: store.wake(session, it.id, world.moment))
    world.pass_time(5)
    assert world.endpoint.state == State.PAUSED
    world.act(store.resume)
    world.pass_time(3)
    assert world.endpoint.state == State.RUNNING
    with pytest.raises(BadRequest, match="already running"):
        world.act(store.resume)


def test_a_crash_loop_fails_with_the_reason_and_can_be_resumed(world: World) -> None:
    world.platform.instant = False
    world.create()
    for _ in range(60):
        world.look()
        world.platform.end(failed=True, reason="it ended with 1: no module named torch")
        world.clock.now += 1
    assert world.endpoint.state == State.FAILED
    assert "no module named torch" in world.endpoint.message
    assert [it.event for it in world.notices] == [Event.FAILED]
    assert len(world.platform.orders) == 4
    world.platform.instant = True
    world.act(store.resume)
    world.pass_time(3)
    assert world.endpoint.state == State.RUNNING


def test_an_update_replaces_replicas_without_a_gap(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 3, "maxReplica": 3}})
    world.pass_time(5)
    assert len(world.platform.running) == 3
    world.platform.instant = False
    assert world.change(compute={"scaling": {"minReplica": 3, "maxReplica": 3}}, commit="d" * 40)
    for _ in range(20):
        world.look()
        ready = [it for it in world.replicas if it.phase == "ready"]
        assert len(ready) >= 3
        world.platform.become_ready()
        world.clock.now += 1
    assert {it.revision for it in world.replicas} == {2}
    assert (world.endpoint.state, world.endpoint.serving) == (State.RUNNING, 2)
    assert len(world.platform.running) == 3


def test_an_update_that_does_not_start_leaves_the_old_one_serving(world: World) -> None:
    world.create()
    world.pass_time(3)
    old = world.platform.running
    world.platform.instant = False
    world.change(commit="d" * 40)
    for _ in range(60):
        world.look()
        for name in world.platform.running:
            if name not in old:
                world.platform.end(name, failed=True, reason="it raises at import")
        world.clock.now += 1
    assert world.endpoint.state == State.UPDATE_FAILED
    assert "it raises at import" in world.endpoint.message
    assert world.platform.running == old
    assert world.endpoint.serving == 1


def test_a_change_of_scaling_alone_restarts_nothing(world: World) -> None:
    world.create()
    world.pass_time(3)
    before = world.platform.running
    assert not world.change(compute={"scaling": {"minReplica": 1, "maxReplica": 4}})
    world.pass_time(3)
    assert world.platform.running == before
    assert world.endpoint.revision == 1


def test_load_brings_replicas_and_calm_takes_them_away_slowly(world: World) -> None:
    scaling = {"maxReplica": 4, "measure": {"requestsPerReplica": 2}, "scaleDownAfter": 20}
    world.create(compute={"scaling": scaling})
    world.pass_time(3)
    world.ask(in_flight=8)
    world.pass_time(2)
    assert len(world.platform.running) == 4
    world.ask(in_flight=1)
    world.pass_time(15)
    assert len(world.platform.running) == 4
    world.pass_time(10)
    assert len(world.platform.running) == 1


def test_a_budget_pauses_it_after_a_warning(world: World) -> None:
    world.create(budget={"amount": 0.1, "period": "total"}, compute={"scaling": {"minReplica": 1}})
    world.pass_time(89)
    assert [it.event for it in world.notices] == [Event.BUDGET_WARNING]
    assert world.endpoint.state == State.RUNNING
    world.pass_time(30)
    assert world.endpoint.state == State.PAUSED
    assert "0.10 of 0.10 dollars are spent" in world.endpoint.message
    assert [it.event for it in world.notices] == [Event.BUDGET_WARNING, Event.BUDGET_REACHED]
    with world.database.reading() as session:
        deeds = audit.entries(session, audit.Filter())
    assert [(it.who, it.what, it.target) for it in deeds] == [("lanza", "endpoint.pause", "ana/becas")]
    world.pass_time(5)
    assert world.platform.running == []
    with world.database.reading() as session:
        spent = usage.spent(session, "ana/becas", Budget(amount=0.1, period="total"), world.moment)
    assert 0.1 <= spent < 0.108


def test_it_is_removed_when_it_expires(world: World) -> None:
    world.create(expires=(world.moment + timedelta(seconds=10)).isoformat())
    world.pass_time(8)
    assert world.endpoint.state == State.RUNNING
    world.pass_time(10)
    assert world.platform.running == []
    with world.database.reading() as session:
        assert store.find(session, "ana", "becas") is None
    assert [it.event for it in world.notices] == [Event.EXPIRED]


def test_a_replica_that_was_killed_is_replaced_at_once_however_often(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 2, "maxReplica": 2}})
    world.pass_time(4)
    for _ in range(30):
        world.platform.end(world.platform.running[0], failed=False)
        world.pass_time(2)
        assert len(world.platform.running) == 2
    assert world.endpoint.state == State.RUNNING


def test_what_does_not_fit_is_said_and_tried_again(world: World) -> None:
    world.platform.room = 0
    world.create()
    world.pass_time(3)
    assert "0 replicas fill this test" in world.endpoint.message
    assert world.endpoint.state == State.PENDING
    world.platform.room = 1
    world.pass_time(5)
    assert world.endpoint.state == State.RUNNING


def test_an_update_without_room_for_both_replaces_one_by_one(world: World) -> None:
    world.platform.room = 1
    world.create()
    world.pass_time(3)
    world.change(commit="d" * 40)
    world.pass_time(10)
    assert {it.revision for it in world.replicas} == {2}
    assert world.endpoint.state == State.RUNNING


def test_replicas_that_nobody_knows_are_ended(world: World) -> None:
    world.create()
    world.pass_time(3)
    with world.database.writing() as session:
        for row in store.replicas(session, store.get(session, "ana", "becas")):
            session.delete(row)
    before = set(world.platform.running)
    world.pass_time(3)
    assert before.isdisjoint(world.platform.running)
    assert len(world.platform.running) == 1


def test_a_row_whose_replica_was_lost_is_replaced(world: World) -> None:
    world.create()
    world.pass_time(3)
    world.platform.sights.clear()
    world.pass_time(8)
    assert len(world.platform.running) == 1
    assert world.endpoint.state == State.RUNNING


def test_files_that_cannot_be_had_count_as_failures(world: World) -> None:
    world.folders.request = lambda key: world.folders.errors.update({key: "the bucket is away"})
    world.create()
    world.pass_time(40)
    assert world.endpoint.state == State.FAILED
    assert "the bucket is away" in world.endpoint.message


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_jumps_costs_at_most_one_rest(world: World, jump: int) -> None:
    world.create(compute={"scaling": {"minReplica": 1}})
    world.pass_time(3)
    world.set_clock(jump)
    world.pass_time(10)
    assert world.endpoint.state == State.RUNNING
    assert len(world.platform.running) == 1


def test_after_a_clock_that_was_set_back_time_costs_and_lost_replicas_are_replaced(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 1}})
    world.pass_time(30)
    before = spent_in_all(world)
    world.set_clock(-86_400)
    world.look()
    assert spent_in_all(world) == before
    world.pass_time(60)
    assert spent_in_all(world) - before == pytest.approx(0.06, abs=0.006)
    world.platform.sights.clear()
    world.pass_time(8)
    assert len(world.platform.running) == 1


def test_a_clock_that_was_set_forward_costs_nothing(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 1}}, budget={"amount": 1.0})
    world.pass_time(30)
    before = spent_in_all(world)
    world.set_clock(86_400)
    world.pass_time(60)
    assert spent_in_all(world) - before == pytest.approx(0.06, abs=0.006)
    assert world.endpoint.state == State.RUNNING


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_who_is_asked_while_the_clock_is_set_does_not_rest(world: World, seconds: int) -> None:
    world.create(**ONE_MINUTE)
    world.pass_time(3)
    world.ask()
    world.set_clock(seconds)
    world.pass_time(2)
    assert world.endpoint.state == State.RUNNING
    world.ask()
    world.pass_time(50)
    assert world.endpoint.state == State.RUNNING
    world.pass_time(15)
    assert world.endpoint.state == State.SCALED_TO_ZERO


def test_after_an_outage_workers_are_heard_before_anybody_rests(world: World) -> None:
    """They could not write either, and do so a moment after the loop can again."""
    world.create(**ONE_MINUTE)
    world.pass_time(3)
    world.clock.now += 120  # no look succeeds
    world.pass_time(2)
    assert world.endpoint.state == State.RUNNING
    world.ask()
    world.pass_time(50)
    assert world.endpoint.state == State.RUNNING


def spent_in_all(world: World) -> float:
    with world.database.reading() as session:
        return usage.spent(session, "ana/becas", Budget(amount=1, period="total"), world.moment)


def test_fewer_replicas_are_wanted_again_after_a_clock_that_was_set_back(world: World) -> None:
    scaling = {"maxReplica": 4, "measure": {"requestsPerReplica": 2}, "scaleDownAfter": 20}
    world.create(compute={"scaling": scaling})
    world.pass_time(3)
    world.ask(in_flight=8)
    world.pass_time(2)
    world.set_clock(-86_400)
    world.ask(in_flight=1)
    world.pass_time(30)
    assert len(world.platform.running) == 1


def test_a_long_calm_is_kept_however_often_is_looked(world: World) -> None:
    scaling = {"maxReplica": 4, "measure": {"requestsPerReplica": 2}, "scaleDownAfter": 600}
    world.create(compute={"scaling": scaling})
    world.pass_time(3)
    world.ask(in_flight=8)
    world.pass_time(2)
    world.ask(in_flight=1)
    world.pass_time(580, step=5)
    assert len(world.platform.running) == 4


def test_an_old_revision_whose_files_are_gone_is_not_held_against_the_new_one(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 2, "maxReplica": 2}})
    world.pass_time(5)
    world.platform.instant = False
    world.change(commit="d" * 40, compute={"scaling": {"minReplica": 2, "maxReplica": 2}})
    world.look()
    world.folders.ready.pop((1, "c" * 40, None))
    world.folders.request = lambda key: world.folders.errors.update(  # type: ignore[method-assign]
        {key: "the bucket is away"}
    )
    world.platform.end(world.platform.running[0], failed=False)
    world.pass_time(30)
    assert world.endpoint.failures == 0


def test_the_old_revision_is_not_started_at_each_look_when_it_fails_too(world: World) -> None:
    world.create()
    world.pass_time(3)
    world.platform.instant = False
    world.change(commit="d" * 40)
    for _ in range(200):
        world.look()
        world.platform.end(failed=True, reason="the driver is gone")
        world.clock.now += 1
    assert world.endpoint.state == State.UPDATE_FAILED
    assert len(world.platform.orders) < 40


def test_what_a_call_has_started_goes_for_good_instead_of_to_zero(world) -> None:
    world.create()
    world.act(lambda session, endpoint: setattr(endpoint, "serverless", True))
    world.pass_time(14 * 60, step=5)
    assert world.endpoint.state == State.RUNNING
    world.pass_time(90, step=5)
    assert world.replicas == []
    with pytest.raises(NotFound):
        _ = world.endpoint
    assert world.notices == []


def test_what_a_call_has_started_in_vain_is_kept_for_a_while_to_say_why(world) -> None:
    world.platform.instant = False
    world.create()
    world.act(lambda session, endpoint: setattr(endpoint, "serverless", True))
    for _ in range(60):
        world.pass_time(2)
        world.platform.end(failed=True, reason="no such model")
    assert world.endpoint.state == State.FAILED
    assert "no such model" in world.endpoint.message
    world.pass_time(16 * 60, step=5)
    with pytest.raises(NotFound):
        _ = world.endpoint


def test_a_name_is_free_as_soon_as_its_endpoint_is_removed(world) -> None:
    world.create()
    world.pass_time(3)
    world.act(store.remove)
    world.create()
    world.pass_time(5)
    assert world.endpoint.state == State.RUNNING
    assert len(world.replicas) == 1


def test_the_base_that_came_for_an_adapter_is_kept_through_rollbacks(world: World) -> None:
    base = Base(repo_id=2, name="google/base", revision="main", commit="b" * 40)
    world.create()
    world.folders.ready[(1, "c" * 40, None)] = Stock(folder=world.folders.folder, base=base)
    world.pass_time(3)
    with world.database.reading() as session:
        first = store.current(session, world.endpoint)
        again = store.made_again(session, world.vault, world.endpoint, first)
    assert store.base_of(first) == again.base == base
    with world.database.writing() as session:
        endpoint = store.get(session, "ana", "becas")
        moved = replace(again, base=replace(base, commit="e" * 40))
        assert not store.change(session, world.vault, endpoint, again, by="ana")
        assert store.change(session, world.vault, endpoint, moved, by="ana")
        assert store.base_of(store.current(session, endpoint)) == moved.base
