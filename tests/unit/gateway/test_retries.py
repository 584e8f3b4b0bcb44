"""A replica that dies costs a retry, not an error: whom to ask next, and when to stop asking."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases import new_database
from gateways import GatewayWorld, Reply, Request, dying, echo, saying
from lanza.endpoints.records import Replica
from lanza.gateway.connection import Broken
from lanza.gateway.forwarding import MOST_DEATHS

STREAM = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    "first",
    [
        dying("nobody listens", reached=False),
        dying("it ended without an answer"),
        dying("what it answers is no HTTP"),
        saying(status=503, body=b'{"error": "loading"}'),
    ],
)
def test_another_is_asked_when_one_does_not_answer(world: GatewayWorld, first: Any) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(first, echo)

    async def twice() -> list[int]:
        async with world.running():
            return [(await world.call()).status for _ in range(2)]

    assert asyncio.run(twice()) == [200, 200]
    assert len(world.network.asked) in (2, 3)  # one of the two requests met the bad one first


def test_the_only_replica_is_asked_again_after_a_moment(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    tries = 0

    async def recovering(request: Request) -> Reply:
        nonlocal tries
        tries += 1
        if tries < 3:
            return await dying("nobody listens", reached=False)(request)
        return await echo(request)

    world.behave(recovering)
    assert world.ask().status == 200
    assert tries == 3


def test_a_request_that_wants_no_retry_gets_none(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, retry=False)
    world.behave(dying())
    got = world.ask()
    assert got.status == 503
    assert "is gone: it ended in the middle" in got.error
    assert len(world.network.asked) == 1


def test_without_retry_a_replicas_own_503_is_passed_on(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, retry=False)
    world.behave(saying(status=503, body=b"mine"))
    assert world.ask().body == b"mine"


def test_a_replica_that_is_busy_until_the_deadline_has_the_last_word(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, deadline=0.2)
    world.behave(saying(status=503, body=b"mine"))
    got = world.ask()
    assert (got.status, got.body) == (503, b"mine")
    assert len(world.network.asked) > 1


def test_a_deadline_that_passes_is_a_504(world: GatewayWorld) -> None:
    async def hang(request: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    world.endpoint(type="public", replicas=0, deadline=0.05)
    world.behave(hang)
    got = world.ask()
    assert got.status == 504
    assert "within 0.05 s" in got.error
    assert world.network.cancelled == world.network.asked


def test_replicas_that_are_gone_for_good_end_at_the_deadline(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, deadline=0.2)
    world.behave(dying("nobody listens", reached=False))
    assert world.ask().status == 504


def test_a_request_that_ends_one_replica_after_another_is_given_up(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.fleet.LONGEST_PAUSE", 0.001)
    monkeypatch.setattr("lanza.gateway.fleet.FIRST_PAUSE", 0.001)
    world.endpoint(type="public", replicas=0)
    world.behave(dying())
    got = world.ask()
    assert got.status == 500
    assert "may be what ends them" in got.error
    assert len(world.network.asked) == MOST_DEATHS


def test_a_request_is_tried_on_few_replicas_that_end_over_it(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(*[dying()] * 5)
    assert world.ask().status == 500
    assert len(set(world.network.asked)) == len(world.network.asked) == MOST_DEATHS


def test_a_death_counts_over_a_connection_that_was_used_before(world: GatewayWorld) -> None:
    """It looks as if the connection were old; that nobody listens any more tells them apart."""
    world.endpoint(type="public", replicas=0)

    def mortal(address: str) -> Any:
        async def die(request: Request) -> Reply:
            del world.network.behaviours[address]
            raise Broken("it ended without an answer", stale=True)

        return die

    for number in range(MOST_DEATHS + 2):
        address = f"unix:/run/mortal-{number}"
        world.replica("ana/becas", mortal(address), address=address)
    assert world.ask().status == 500
    assert len(world.network.asked) == MOST_DEATHS


async def dies_of_poison(request: Request) -> Reply:
    """A replica that ends, and whatever is under way there with it."""
    dead = getattr(dies_of_poison, "dead", None)
    assert isinstance(dead, asyncio.Event)
    if request.body == b"poison":
        await asyncio.sleep(0.01)
        dead.set()
        dies_of_poison.dead = asyncio.Event()  # type: ignore[attr-defined]  # the next one lives
        raise Broken("it ended without an answer")
    ended = asyncio.create_task(dead.wait())
    done, _ = await asyncio.wait({ended}, timeout=0.02)
    ended.cancel()
    if done:
        raise Broken("it ended without an answer")
    return await echo(request)


def test_those_beside_a_request_that_ends_replicas_are_answered(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.fleet.LONGEST_PAUSE", 0.001)
    monkeypatch.setattr("lanza.gateway.fleet.FIRST_PAUSE", 0.001)
    world.endpoint(type="public", replicas=0)
    world.behave(dies_of_poison)

    async def together() -> list[int]:
        dies_of_poison.dead = asyncio.Event()  # type: ignore[attr-defined]
        async with world.running():
            bodies = [b"good", b"poison", *[b"good"] * 6]
            return [it.status for it in await asyncio.gather(*(world.call(body=body) for body in bodies))]

    assert asyncio.run(together()) == [200, 500, *[200] * 6]


def test_a_suspect_that_takes_long_keeps_others_waiting_only_for_a_while(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.fleet.LONGEST_TURN", 0.01)
    world.endpoint(type="public", replicas=0)
    met: set[bytes] = set()
    all_there = asyncio.Event()

    async def slow(request: Request) -> Reply:
        if request.body not in met:
            met.add(request.body)
            raise Broken("it ended without an answer")
        met.discard(request.body)
        if not met:
            all_there.set()
        await all_there.wait()  # the first is answered only when the last is under way too
        return await echo(request)

    world.behave(slow)

    async def together() -> list[int]:
        async with world.running():
            calls = (world.call(body=b"%d" % number) for number in range(4))
            return [it.status for it in await asyncio.gather(*calls)]

    assert asyncio.run(together()) == [200] * 4


def test_what_replicas_were_asked_is_written_for_who_judges_their_end(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(dying("nobody listens", reached=False), dying(), echo, echo)

    async def some() -> list[int]:
        async with world.running():
            return [(await world.call()).status for _ in range(2)]

    assert asyncio.run(some()) == [200, 200]
    with world.database.reading() as session:
        marks = [(it.asked, it.broke_at is not None) for it in session.query(Replica).order_by(Replica.id)]
    asked = {(f"unix:/run/{name}") for name in world.network.asked}
    assert marks.count((True, True)) == 1
    assert (False, False) in marks or len(asked) == 3


def test_a_handler_that_dies_of_a_request_is_not_made_to_die_again_and_again(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.fleet.LONGEST_PAUSE", 0.001)
    monkeypatch.setattr("lanza.gateway.fleet.FIRST_PAUSE", 0.001)
    world.endpoint(type="public", replicas=0)
    died = b'{"error": "The handler\'s process ended with status 9", "code": "engine_restarting"}'
    world.behave(saying(status=503, body=died))
    got = world.ask()
    assert (got.status, "status 9" in got.error) == (503, True)
    assert len(world.network.asked) == MOST_DEATHS


def test_at_the_deadline_the_last_refusal_says_why(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, deadline=0.3)
    refusals = iter([Reply(status=503, body=b'{"error": "it is being loaded"}')])

    async def refuse_then_hang(request: Request) -> Reply:
        reply = next(refusals, None)
        if reply is None:
            await asyncio.Event().wait()
        assert reply is not None
        return reply

    world.behave(refuse_then_hang)
    got = world.ask()
    assert (got.status, got.error) == (503, "it is being loaded")


def test_the_least_busy_is_asked_and_equals_in_turn(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    opened = asyncio.Event()

    async def slow(request: Request) -> Reply:
        await opened.wait()
        return Reply()

    addresses = world.behave(slow, slow, slow)

    async def several() -> None:
        async with world.running():
            running = [asyncio.create_task(world.call()) for _ in range(6)]
            while len(world.network.asked) < 6:
                await asyncio.sleep(0)
            opened.set()
            await asyncio.gather(*running)

    asyncio.run(several())
    assert sorted(world.network.asked) == sorted(addresses * 2)


def test_a_client_that_leaves_frees_the_replica(world: GatewayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanza.gateway.exchange.LOOK_AFTER", 0.0)
    world.endpoint(type="public", replicas=0)
    gone = asyncio.Event()

    async def leave(request: Request) -> Reply:
        gone.set()
        await asyncio.Event().wait()
        raise AssertionError

    world.behave(leave)

    async def one() -> Any:
        async with world.running():
            return await world.call(gone=gone)

    assert asyncio.run(one()).status == 0
    assert world.network.cancelled == world.network.asked


def test_a_stream_comes_part_by_part(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(saying(headers=STREAM, parts=[b"data: 1\n\n", b"data: 2\n\n"]))
    got = world.ask()
    assert got.parts == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert got.complete
    assert "content-length" not in got.headers


def test_a_stream_that_breaks_says_so_and_is_not_tried_again(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(saying(headers=STREAM, parts=[b"data: 1\n\n", Broken("it ended in the middle")]), echo)

    async def both() -> list[Any]:
        async with world.running():
            return [await world.call("/endpoints/ana/becas/v1/chat/completions") for _ in range(2)]

    broken = next(one for one in asyncio.run(both()) if one.headers["content-type"] == STREAM["content-type"])
    assert broken.parts[0] == b"data: 1\n\n"
    assert b'data: {"error":{"message":"the replica of ana/becas ended' in broken.parts[1]
    assert not broken.complete


def test_a_long_answer_that_breaks_is_cut(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(saying(headers={"content-length": "9"}, parts=[b"12345", Broken("it ended")]))
    got = world.ask()
    assert got.parts == [b"12345"]
    assert not got.complete


def test_a_stream_that_falls_silent_ends(world: GatewayWorld) -> None:
    async def silence() -> bytes:
        await asyncio.Event().wait()
        return b""

    world.endpoint(type="public", replicas=0, deadline=0.05)
    world.behave(saying(headers=STREAM, parts=[b"data: 1\n\n", silence]))
    got = world.ask()
    assert got.parts == [b"data: 1\n\n"]
    assert not got.complete


@given(st.data())
def test_no_request_fails_while_one_replica_lives(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Replicas die and come back at random moments, never all at once; every answer is right all the same."""
    folder = tmp_path_factory.mktemp("deaths")
    database = new_database(folder)
    world = GatewayWorld(database=database)
    world.endpoint(type="public", replicas=0, deadline=60)
    seed = data.draw(st.integers(0, 2**32))
    count = data.draw(st.integers(2, 4))
    requests = data.draw(st.integers(1, 12))
    chance = random.Random(seed)
    dead: set[int] = set()

    def mortal(number: int) -> Any:
        async def behave(request: Request) -> Reply:
            await asyncio.sleep(0)
            if chance.random() < 0.4 and len(dead | {number}) < count:
                dead.add(number)
            elif dead and chance.random() < 0.3:
                dead.pop()
            if number in dead:
                kinds = (dying("nobody listens", reached=False), saying(status=503), dying())
                return await chance.choice(kinds)(request)
            return await echo(request)

        return behave

    world.behave(*map(mortal, range(count)))

    async def load() -> list[Any]:
        # Here they die so often that one request may meet several deaths by chance.
        with patch("lanza.gateway.forwarding.MOST_DEATHS", 100):
            async with world.running():
                calls = (world.call(body=b"%d" % number) for number in range(requests))
                return await asyncio.gather(*calls)

    try:
        for number, got in enumerate(asyncio.run(load())):
            assert (got.status, got.json["body"]) == (200, str(number))
    finally:
        database.close()


def test_a_replica_that_is_no_longer_listed_is_not_asked(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=2)

    async def across() -> list[str]:
        async with world.running():
            await world.call()
            world.act(lambda session, endpoint: _drain_first(session))
            await asyncio.sleep(0)
            await world.gateway.table.get("ana/becas", newer_than=0.0)
            world.network.asked.clear()
            for _ in range(4):
                await world.call()
            return world.network.asked

    assert len(set(asyncio.run(across()))) == 1


def _drain_first(session: Any) -> None:
    session.query(Replica).order_by(Replica.id).first().phase = "draining"
