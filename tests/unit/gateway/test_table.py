"""What is known of endpoints: how old it may be, who reads, and what happens while nobody can."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from auth_app import Clock
from lanza.endpoints.states import State
from lanza.errors import Unavailable
from lanza.gateway.table import RouteTable
from lanza.gateway.targets import Place, Target

BECAS = Target(
    id=7,
    key="ana/becas",
    namespace="ana",
    name="becas",
    repository="ana/becas",
    revision=1,
    created_at=datetime(2026, 11, 20, tzinfo=UTC),
    state=State.RUNNING,
)


class Source:
    """A database of targets, which counts its reads."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {"ana/becas": BECAS}
        self.reads: list[set[str]] = []
        self.away = False

    async def __call__(self, keys: Collection[str]) -> Mapping[str, Target]:
        self.reads.append(set(keys))
        await asyncio.sleep(0)
        if self.away:
            raise OSError("no disk")
        return {key: self.targets[key] for key in keys if key in self.targets}


def table(source: Source) -> tuple[RouteTable, Clock]:
    clock = Clock()
    return RouteTable(source, clock=clock), clock


def run(steps: Any) -> None:
    asyncio.run(steps())


def test_a_crowd_is_one_read() -> None:
    source = Source()

    async def steps() -> None:
        known, _ = table(source)
        found = await asyncio.gather(*(known.get("ana/becas") for _ in range(50)))
        assert found == [BECAS] * 50
        assert len(source.reads) == 1

    run(steps)


def test_a_young_entry_is_used_a_middle_aged_one_read_beside_an_old_one_first() -> None:
    source = Source()

    async def steps() -> None:
        known, clock = table(source)
        assert known.young("ana/becas") is None
        await known.get("ana/becas")
        source.targets["ana/becas"] = other = replace(BECAS, revision=2)
        clock.now += 0.85
        assert known.young("ana/becas") is BECAS
        clock.now += 0.1
        assert known.young("ana/becas") is BECAS
        assert len(source.reads) == 1
        await asyncio.sleep(0.001)
        assert len(source.reads) == 2
        assert known.young("ana/becas") is other
        clock.now += 1.0
        assert known.young("ana/becas") is None
        assert await known.get("ana/becas") is other
        assert len(source.reads) == 3

    run(steps)


def test_what_has_not_changed_stays_the_same_value() -> None:
    source = Source()

    async def steps() -> None:
        known, clock = table(source)
        first = await known.get("ana/becas")
        source.targets["ana/becas"] = replace(BECAS)
        clock.now += 2
        assert await known.get("ana/becas") is first

    run(steps)


def test_a_change_is_read_at_once_and_told_to_those_who_wait() -> None:
    source = Source()

    async def steps() -> None:
        known, _ = table(source)
        await known.get("ana/becas")
        waiting = asyncio.create_task(known.news("ana/becas", within=60))
        await asyncio.sleep(0)
        place = Place(id="r1", revision=1, address="unix:/run/r1")
        source.targets["ana/becas"] = ready = replace(BECAS, places=(place,))
        known.changed(7)
        await waiting
        assert known.young("ana/becas") is ready

    run(steps)


def test_a_new_endpoint_is_not_missed_for_having_been_absent() -> None:
    source = Source()

    async def steps() -> None:
        known, _ = table(source)
        assert await known.get("ana/new") is None
        source.targets["ana/new"] = replace(BECAS, id=8, key="ana/new")
        assert await known.get("ana/new") is None
        known.changed(8)
        assert await known.get("ana/new") is not None

    run(steps)


def test_while_the_database_is_away_what_was_known_serves_on(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()

    async def steps() -> None:
        known, clock = table(source)
        await known.get("ana/becas")
        source.away = True
        clock.now += 60
        assert await known.get("ana/becas") is BECAS
        with pytest.raises(Unavailable):
            await known.get("ana/other")
        clock.now += 300
        with pytest.raises(Unavailable):
            await known.get("ana/becas")
        source.away = False
        assert await known.get("ana/becas") is BECAS

    run(steps)
    assert "no disk" in caplog.text


def test_a_database_that_hangs_holds_nobody_up_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanza.gateway.table.PATIENCE", 0.01)
    source = Source()

    async def steps() -> None:
        known, clock = table(source)
        await known.get("ana/becas")
        hanging = asyncio.Event()

        async def hang(keys: Collection[str]) -> Mapping[str, Target]:
            await hanging.wait()
            return {}

        known._read = hang
        clock.now += 10
        assert await known.get("ana/becas") is BECAS
        await known.close()

    run(steps)


def test_names_that_nobody_has_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanza.gateway.table.MOST", 10)
    source = Source()

    async def steps() -> None:
        known, _ = table(source)
        for number in range(50):
            await known.get(f"ana/{number}")
        assert len(known._entries) == 10

    run(steps)
