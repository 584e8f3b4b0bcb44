"""Requests that find no replica: who wakes, who waits, how long, and what cannot be waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateways import GatewayWorld
from lanza.endpoints import store
from lanza.endpoints.states import Intent, State


def up(world: GatewayWorld, key: str = "ana/becas") -> None:
    """A replica is ready, as the control plane notes it."""
    world.replica(key)
    world.act(lambda session, endpoint: setattr(endpoint, "state", State.RUNNING.value), key)


def test_many_at_once_wake_an_endpoint_once_and_are_all_answered(world: GatewayWorld) -> None:
    world.endpoint(type="public", asleep=True)

    async def crowd() -> list[Any]:
        async with world.running() as gateway:
            calls = [asyncio.create_task(world.call()) for _ in range(200)]
            while not world.nudges or gateway._holding.held < 200:
                await asyncio.sleep(0.001)
            up(world)
            return await asyncio.gather(*calls)

    assert {got.status for got in asyncio.run(crowd())} == {200}
    assert len(world.nudges) == 1


def test_a_replica_that_comes_by_another_process_is_found(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)

    async def waiting() -> Any:
        async with world.running() as gateway:
            call = asyncio.create_task(world.call())
            while not gateway._holding.held:
                await asyncio.sleep(0.001)
            world.replica("ana/becas")  # and nobody tells this gateway
            return await call

    assert asyncio.run(waiting()).status == 200


def test_who_does_not_want_to_wait_is_told_and_wakes_it_all_the_same(world: GatewayWorld) -> None:
    world.endpoint(type="public", asleep=True)
    got = world.ask(headers={"X-Scale-Up-Timeout": "0"})
    assert got.status == 503
    assert got.headers["retry-after"] == "5"
    assert "X-Scale-Up-Timeout" in got.error
    assert len(world.nudges) == 1


@pytest.mark.parametrize("given", ["-1", "soon", "nan"])
def test_a_scale_up_timeout_is_seconds(world: GatewayWorld, given: str) -> None:
    world.endpoint(type="public", asleep=True)
    got = world.ask(headers={"X-Scale-Up-Timeout": given})
    assert got.status == 400
    assert "in seconds" in got.error


@pytest.mark.parametrize("bound", ["spec", "server"])
def test_the_wait_ends(world: GatewayWorld, bound: str) -> None:
    start = {"startTimeout": 0.05} if bound == "spec" else {}
    if bound == "server":
        world.settings = replace(world.settings, longest_hold=0.05)
    world.endpoint(type="public", replicas=0, **start)
    assert world.ask().status == 503


def test_only_so_many_wait(world: GatewayWorld) -> None:
    world.settings = replace(world.settings, most_held=1)
    world.endpoint(type="public", replicas=0)

    async def two() -> Any:
        async with world.running() as gateway:
            first = asyncio.create_task(world.call())
            while not gateway._holding.held:
                await asyncio.sleep(0.001)
            second = await world.call()
            up(world)
            return await first, second

    first, second = asyncio.run(two())
    assert (first.status, second.status) == (200, 429)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda session, endpoint: store.pause(session, endpoint, "the budget is spent"),
            "paused: the budget",
        ),
        (lambda session, endpoint: _fail(endpoint), "has failed: no such layer"),
    ],
)
def test_what_will_not_come_is_not_waited_for(world: GatewayWorld, change: Any, said: str) -> None:
    world.endpoint(type="public", replicas=0)

    async def both() -> list[Any]:
        async with world.running() as gateway:
            held = asyncio.create_task(world.call())
            while not gateway._holding.held:
                await asyncio.sleep(0.001)
            world.act(change)
            return [await held, await world.call()]

    for got in asyncio.run(both()):
        assert got.status == 503
        assert said in got.error
    assert not world.nudges


def _fail(endpoint: Any) -> None:
    endpoint.state, endpoint.message = State.FAILED.value, "no such layer"


def test_one_that_is_removed_is_gone_for_those_who_wait(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)

    async def removed() -> Any:
        async with world.running() as gateway:
            held = asyncio.create_task(world.call())
            while not gateway._holding.held:
                await asyncio.sleep(0.001)
            world.act(store.remove)
            return await held

    assert asyncio.run(removed()).status == 404


def test_a_look_at_its_health_wakes_nothing_and_counts_nothing(world: GatewayWorld) -> None:
    world.endpoint(type="public", asleep=True)
    got = world.ask("/endpoints/ana/becas/health", method="GET", body=b"")
    assert got.status == 503
    assert "scaledToZero" in got.error
    assert not world.nudges
    with world.database.reading() as session:
        endpoint = store.get(session, "ana", "becas")
        assert endpoint.intent == Intent.ZERO.value
        assert endpoint.last_request_at is None


def test_a_client_that_leaves_waits_no_longer(world: GatewayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanza.gateway.exchange.LOOK_AFTER", 0.0)
    world.endpoint(type="public", replicas=0)

    async def leaving() -> int:
        async with world.running() as gateway:
            gone = asyncio.Event()
            call = asyncio.create_task(world.call(gone=gone))
            while not gateway._holding.held:
                await asyncio.sleep(0.001)
            gone.set()
            await call
            return gateway._holding.held

    assert asyncio.run(leaving()) == 0
