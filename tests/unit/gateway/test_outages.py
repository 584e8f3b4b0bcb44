"""A database that is slow or away: who is known goes on being answered, and what was counted counts once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from gateways import GatewayWorld
from lanza.auth.tokens import CACHE_SECONDS
from lanza.endpoints.records import Usage


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("callers", "table"):
        monkeypatch.setattr(f"lanza.gateway.{module}.PATIENCE", 0.02)


def requests_written(world: GatewayWorld) -> int:
    with world.database.reading() as session:
        return sum(row.requests for row in session.query(Usage))


@pytest.mark.usefixtures("impatient")
def test_a_database_that_hangs_keeps_nobody_who_is_known(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.user("ana")
    world.endpoint()
    reading, back = world.database.reading, threading.Event()

    @contextmanager
    def hangs() -> Iterator[Any]:
        back.wait(30)
        with reading() as session:
            yield session

    async def several() -> list[int]:
        async with world.running():
            statuses = [(await world.call(token=token)).status]
            monkeypatch.setattr(world.database, "reading", hangs)
            world.clock.now += CACHE_SECONDS
            try:
                return [*statuses, *[(await world.call(token=token)).status for _ in range(5)]]
            finally:
                back.set()

    assert asyncio.run(several()) == [200] * 6


def test_without_its_database_an_unknown_token_is_told_to_come_again(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = world.user("ana"), world.user("ana", token="other")
    world.endpoint()

    def away(**_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    async def both() -> list[tuple[int, str]]:
        async with world.running():
            await world.call(token=known)
            with monkeypatch.context() as outage:
                outage.setattr(world.database, "reading", away)
                outage.setattr(world.database, "writing", away)
                world.clock.now += CACHE_SECONDS
                got = [await world.call(token=token) for token in (known, unknown)]
            return [(it.status, it.error if it.status != 200 else "") for it in got]

    (first, _), (second, said) = asyncio.run(both())
    assert (first, second) == (200, 503)
    assert "database is busy or away" in said


def test_what_is_being_written_at_the_end_is_written_once(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.gateway.recorder.WRITE_EVERY", 0.001)
    world.endpoint(type="public")
    writing, begun, go_on = world.database.writing, threading.Event(), threading.Event()

    @contextmanager
    def slow(**more: Any) -> Iterator[Any]:
        begun.set()
        go_on.wait(30)
        with writing(**more) as session:
            yield session

    async def end_in_the_middle() -> None:
        async with world.running() as gateway:
            monkeypatch.setattr(world.database, "writing", slow)
            await world.call()
            while not begun.is_set():
                await asyncio.sleep(0)
            closing = asyncio.create_task(gateway.close())
            await asyncio.sleep(0)
            go_on.set()
            await closing

    asyncio.run(end_in_the_middle())
    assert requests_written(world) == 1
