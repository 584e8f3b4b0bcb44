"""Rates, caps, the cache, the meter: what is counted and what is bounded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from auth_app import Clock
from gateways import GatewayWorld, Reply, Request, echo, saying
from lanza.endpoints.records import Endpoint, Point, Replica, Usage, WorkerLoad
from lanza.gateway.limits import Bucket


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 10), max_size=200))
def test_a_bucket_grants_no_more_than_its_rate_and_one_burst(rate: float, pauses: list[float]) -> None:
    clock = Clock(0.0)
    bucket = Bucket(rate, clock.now)
    granted = 0
    for pause in pauses:
        clock.now += pause
        granted += bucket.take(clock.now) == 0.0
    assert granted <= max(1.0, 2 * rate) + rate * clock.now + 1e-6


@given(st.floats(0.01, 1000))
def test_a_bucket_says_when_to_come_again(rate: float) -> None:
    bucket = Bucket(rate, 0.0)
    while not (wait := bucket.take(0.0)):
        pass
    assert bucket.take(wait * 0.99) > 0
    assert bucket.take(wait * 1.01) == 0.0


def many(world: GatewayWorld, count: int, *tokens: str) -> list[list[int]]:
    async def ask() -> list[list[int]]:
        async with world.running():
            return [[(await world.call(token=token)).status for _ in range(count)] for token in tokens]

    return asyncio.run(ask())


def test_each_token_has_its_own_rate(world: GatewayWorld) -> None:
    one, other = world.user("ana"), world.user("bea")
    world.endpoint(type="authenticated", rateLimit={"perToken": 0.001})
    assert many(world, 2, one, other) == [[200, 429], [200, 429]]


def test_an_endpoint_has_one_for_all(world: GatewayWorld) -> None:
    one, other = world.user("ana"), world.user("bea")
    world.endpoint(type="authenticated", rateLimit={"perEndpoint": 0.001})
    assert many(world, 1, one, other) == [[200], [429]]


def test_workers_share_a_rate(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.settings = replace(world.settings, workers=4)
    world.endpoint(rateLimit={"perToken": 4.0})
    statuses = many(world, 4, token)[0]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_who_is_over_the_limit_is_told_when_to_come_again(world: GatewayWorld) -> None:
    world.endpoint(type="public", rateLimit={"perToken": 0.1})

    async def twice() -> Any:
        async with world.running():
            await world.call()
            return await world.call()

    got = asyncio.run(twice())
    assert got.status == 429
    assert 9 <= int(got.headers["retry-after"]) <= 10
    assert "the limit is 0.1" in got.error


def test_only_so_many_at_once(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, concurrency=2)
    opened = asyncio.Event()

    async def slow(request: Request) -> Reply:
        await opened.wait()
        return Reply()

    world.behave(slow)

    async def three() -> list[int]:
        async with world.running():
            running = [asyncio.create_task(world.call()) for _ in range(2)]
            while len(world.network.asked) < 2:
                await asyncio.sleep(0.001)
            third = await world.call()
            opened.set()
            done = await asyncio.gather(*running)
            return [third.status, *(it.status for it in done), (await world.call()).status]

    assert asyncio.run(three()) == [429, 200, 200, 200]


def test_bodies_that_are_kept_are_bounded_together(world: GatewayWorld) -> None:
    world.settings = replace(world.settings, bodies_bytes=100)
    world.endpoint(type="public")
    assert world.ask(body=b"x" * 101).status == 429
    assert world.ask(body=b"x" * 100).status == 200


# The cache


def test_an_answer_is_given_again_to_the_same_request(world: GatewayWorld) -> None:
    world.endpoint(type="public", cacheHttpResponses=True)

    async def asked() -> list[Any]:
        async with world.running():
            first = await world.call(body=b"1")
            again = await world.call(body=b"1")
            others = [
                await world.call(body=b"2"),
                await world.call("/endpoints/ana/becas?x=1", body=b"1"),
                await world.call(body=b"1", headers={"Accept": "image/png"}),
                await world.call(body=b"1", method="PUT"),
            ]
            return [first, again, *others]

    first, again, *others = asyncio.run(asked())
    assert again.headers["x-lanza-cache"] == "hit"
    assert again.json == first.json
    assert again.headers["content-type"] == "application/json"
    assert not any("x-lanza-cache" in one.headers for one in (first, *others))
    assert len(world.network.asked) == 5


def test_nothing_is_kept_that_nobody_asked_to_keep(world: GatewayWorld) -> None:
    world.endpoint(type="public")
    assert many(world, 2, "") == [[200, 200]]
    assert len(world.network.asked) == 2


@pytest.mark.parametrize(
    "what",
    [
        {"status": 500},
        {"status": 201},
        {"headers": {"cache-control": "no-store"}},
        {"headers": {"cache-control": "Max-Age=0"}},
        {"headers": {"vary": "Accept, X-User"}},
        {"headers": {"vary": "*"}},
        {"parts": [b"1"]},
    ],
)
def test_only_whole_good_answers_are_kept(world: GatewayWorld, what: Any) -> None:
    world.endpoint(type="public", replicas=0, cacheHttpResponses=True)
    world.behave(saying(**what))
    many(world, 2, "")
    assert len(world.network.asked) == 2


def test_what_varies_by_what_is_in_the_key_is_kept(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, cacheHttpResponses=True)
    world.behave(saying(headers={"vary": "Accept-Encoding, Origin"}))
    many(world, 2, "")
    assert len(world.network.asked) == 1


@pytest.mark.parametrize("header", ["Cache-Control: no-cache", "X-Use-Cache: false"])
def test_who_asks_may_want_an_answer_of_now(world: GatewayWorld, header: str) -> None:
    world.endpoint(type="public", cacheHttpResponses=True)
    name, value = header.split(": ")

    async def asked() -> list[str]:
        async with world.running():
            got = [await world.call(), await world.call(headers={name: value}), await world.call()]
            return [one.headers.get("x-lanza-cache", "") for one in got]

    assert asyncio.run(asked()) == ["", "", "hit"]


def test_health_is_of_now_and_counts_against_no_limit(world: GatewayWorld) -> None:
    limits = {"rateLimit": {"perToken": 0.001}, "concurrency": 1}
    world.endpoint(type="public", cacheHttpResponses=True, **limits)

    async def looked() -> list[int]:
        async with world.running():
            looks = [await world.call("/endpoints/ana/becas/health", method="GET", body=b"") for _ in "123"]
            return [one.status for one in looks] + [(await world.call()).status for _ in "12"]

    assert asyncio.run(looked()) == [200, 200, 200, 200, 429]
    assert len(world.network.asked) == 4


def test_a_cached_answer_is_for_those_who_may_call(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint(cacheHttpResponses=True)
    assert many(world, 2, token, "") == [[200, 200], [401, 401]]


def test_a_new_revision_answers_anew(world: GatewayWorld) -> None:
    world.endpoint(type="public", cacheHttpResponses=True)

    async def across() -> tuple[list[int], int]:
        asked = []
        async with world.running() as gateway:
            await world.call()
            with world.database.writing() as session:
                from lanza.endpoints import store
                from lanza.endpoints.records import Revision

                endpoint = store.get(session, "ana", "becas")
                present = store.current(session, endpoint)
                endpoint.revision = 2
                columns = Revision.__table__.columns.keys()
                copied = {name: getattr(present, name) for name in columns} | {"number": 2}
                session.add(Revision(**copied))
            for replica in (1, 2):  # the one that serves on until the new one is ready, then that
                with world.database.writing() as session:
                    session.query(Replica).update({"revision": replica})
                await gateway.table.get("ana/becas", newer_than=0.0)
                for body in (b"{}", b"1"):
                    await world.call(body=body)
                asked.append(len(world.network.asked))
            return asked, gateway._cache.bytes

    asked, kept = asyncio.run(across())
    assert asked == [2, 4]
    assert 0 < kept < 2000  # the first answers are not kept any longer


def test_the_cache_has_a_bound_and_forgets_the_least_used(world: GatewayWorld) -> None:
    world.settings = replace(world.settings, cache_bytes=3000)
    world.endpoint(type="public", replicas=0, cacheHttpResponses=True)
    world.behave(saying(body=b"x" * 800))

    async def several() -> list[str]:
        async with world.running() as gateway:
            for body in (b"1", b"2", b"1", b"3"):
                await world.call(body=body)
            assert gateway._cache.bytes <= 3000
            return [(await world.call(body=body)).headers.get("x-lanza-cache", "") for body in (b"1", b"2")]

    assert asyncio.run(several()) == ["hit", ""]


# The meter


def written(world: GatewayWorld, kind: Any) -> list[Any]:
    with world.database.reading() as session:
        return session.query(kind).all()


def test_requests_errors_and_tokens_are_counted_by_token(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint(type="authenticated", replicas=0)
    usage = b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}'
    world.behave(saying(body=usage))
    other = world.user("bea")
    many(world, 2, token, other)
    found = {
        row.token: (row.requests, row.errors, row.tokens_in, row.tokens_out) for row in written(world, Usage)
    }
    assert found == {"ana/test": (2, 0, 14, 6), "bea/test": (2, 0, 14, 6)}
    point = written(world, Point)
    assert sum(it.requests for it in point) == 4
    assert all(it.replicas == 1 and it.slowest > 0 for it in point)
    assert written(world, Endpoint)[0].last_request_at is not None


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (b'[{"generated_text": "a", "details": {"generated_tokens": 5, "prefill": [{}, {}]}}]', (2, 5)),
        (b'{"generated_text": "a", "details": {"generated_tokens": 5}}', (0, 5)),
        (b' \n[\n  {"generated_text": "a", "details": {"generated_tokens": 5}}]', (0, 5)),
        (b'[[0.1, "usage"]]', (0, 0)),
        (b'{"usage": null}', (0, 0)),
        (b'{"usage": {"prompt_tokens": -4, "completion_tokens": null}}', (0, 0)),
        (b'{"usage": {"prompt_tokens": "many"}}', (0, 0)),
        (b'{"usage": ', (0, 0)),
        (b'\xff"usage"', (0, 0)),
        (b"[" * 5000 + b'"usage"', (0, 0)),
    ],
)
def test_tokens_are_read_from_what_answers_say(world: GatewayWorld, body: bytes, counted: Any) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(saying(body=body))
    assert world.ask().body == body
    row = written(world, Usage)[0]
    assert (row.tokens_in, row.tokens_out) == counted


def test_a_streams_last_event_says_what_it_used(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
    parts = [b'data: {"choices": [], "usage": null}\n\n' * 500, usage[:30], usage[30:], b"data: [DONE]\n\n"]
    world.behave(saying(headers={"content-type": "text/event-stream"}, parts=parts))
    world.ask()
    row = written(world, Usage)[0]
    assert (row.tokens_in, row.tokens_out) == (7, 3)


def test_who_was_not_let_in_uses_nothing(world: GatewayWorld) -> None:
    world.endpoint(rateLimit={"perToken": 0.001})
    many(world, 2, "", world.user("bea"))
    assert not written(world, Usage)


def test_errors_are_those_of_the_server(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0, retry=False)
    world.behave(saying(status=500), saying(status=422))
    many(world, 2, "")
    row = written(world, Usage)[0]
    assert (row.requests, row.errors) == (2, 1)


def test_what_could_not_be_written_is_written_later(world: GatewayWorld) -> None:
    world.endpoint(type="public")

    async def trouble() -> None:
        async with world.running() as gateway:
            await world.call()
            write = gateway._ledger.write

            async def locked(batch: Any) -> None:
                raise OperationalError("write", {}, Exception("database is locked"))

            gateway._ledger.write = locked  # type: ignore[method-assign]
            await gateway._recorder.write()
            await world.call()
            await gateway._recorder.write()
            gateway._ledger.write = write  # type: ignore[method-assign]

    asyncio.run(trouble())
    assert written(world, Usage)[0].requests == 2


def test_what_is_under_way_is_told_and_taken_back(world: GatewayWorld) -> None:
    world.endpoint("ana/held", type="public", replicas=0)
    world.endpoint("ana/busy", type="public", replicas=0)
    opened = asyncio.Event()

    async def slow(request: Request) -> Reply:
        await opened.wait()
        return await echo(request)

    world.behave(slow, key="ana/busy")

    async def told() -> list[tuple[int, int]]:
        async with world.running() as gateway:
            calls = [
                asyncio.create_task(world.call(f"/endpoints/ana/{name}")) for name in ("held", "busy", "busy")
            ]
            while not gateway._holding.held or len(world.network.asked) < 2:
                await asyncio.sleep(0.001)
            await gateway._recorder.write()
            loads = [(it.in_flight, it.held) for it in written(world, WorkerLoad)]
            opened.set()
            world.replica("ana/held")
            await asyncio.gather(*calls)
            await gateway._recorder.write()
            return loads

    assert sorted(asyncio.run(told())) == [(0, 1), (2, 0)]
    assert not written(world, WorkerLoad)


def test_metrics_tell_it_all_and_bound_their_labels(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.metrics.MOST", 2)
    for name in ("one", "two", "three"):
        world.endpoint(f"ana/{name}", type="public")

    async def asked() -> str:
        async with world.running():
            for name in ("one", "two", "three", "four", "five"):
                await world.call(f"/endpoints/ana/{name}")
            return world.metrics

    said = asyncio.run(asked())
    assert 'lanza_gateway_requests_total{endpoint="ana/one",status="2xx"} 1.0' in said
    assert 'lanza_gateway_requests_total{endpoint="other",status="2xx"} 1.0' in said
    assert 'status="4xx"} 2.0' in said
    assert "ana/three" not in said
    assert 'lanza_gateway_request_seconds_count{endpoint="ana/two"} 1.0' in said


def test_metrics_tell_of_those_that_wait_of_cold_starts_and_of_tokens(world: GatewayWorld) -> None:
    world.endpoint(type="public", asleep=True)
    usage = b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}'

    async def asked() -> tuple[str, str]:
        async with world.running() as gateway:
            calls = [asyncio.create_task(world.call()) for _ in range(3)]
            while gateway._holding.held < 3:
                await asyncio.sleep(0.001)
            meanwhile = world.metrics
            world.behave(saying(body=usage))
            world.act(lambda session, endpoint: setattr(endpoint, "state", "running"))
            await asyncio.gather(*calls)
            await world.call()
            return meanwhile, world.metrics

    meanwhile, after = (said.splitlines() for said in asyncio.run(asked()))
    assert 'lanza_gateway_held{endpoint="ana/becas"} 3.0' in meanwhile
    assert 'lanza_gateway_in_flight{endpoint="ana/becas"} 0.0' in meanwhile
    assert {
        'lanza_gateway_held{endpoint="ana/becas"} 0.0',
        'lanza_gateway_in_flight{endpoint="ana/becas"} 0.0',
        'lanza_gateway_cold_start_seconds_count{endpoint="ana/becas"} 3.0',
        'lanza_gateway_tokens_total{endpoint="ana/becas",way="in"} 28.0',
        'lanza_gateway_tokens_total{endpoint="ana/becas",way="out"} 12.0',
        'lanza_gateway_first_byte_seconds_count{endpoint="ana/becas"} 4.0',
    } <= set(after)
