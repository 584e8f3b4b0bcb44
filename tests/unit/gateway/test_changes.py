"""What is known of endpoints: nobody is sent by what somebody has just changed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from auth_app import Clock
from lanza.database import now
from lanza.endpoints.states import State
from lanza.gateway.table import FRESH, RouteTable
from lanza.gateway.targets import Target

RUNS = Target(
    id=7,
    key="ana/qa",
    namespace="ana",
    name="qa",
    repository="ana/becas",
    revision=1,
    created_at=now(),
    state=State.RUNNING,
)
PAUSED = replace(RUNS, state=State.PAUSED)


def test_a_change_is_seen_by_the_next_request() -> None:
    async def run() -> None:
        present, clock = RUNS, Clock()

        async def read(keys: Collection[str]) -> Mapping[str, Target]:
            return {"ana/qa": present}

        table = RouteTable(read, clock=clock)
        assert await table.get("ana/qa") == RUNS
        assert table.young("ana/qa") == RUNS
        present = PAUSED
        table.changed(7)
        assert table.young("ana/qa") is None
        assert await table.get("ana/qa") == PAUSED
        assert table.young("ana/qa") == PAUSED
        await table.close()

    asyncio.run(run())


def test_a_read_that_began_before_a_change_settles_nothing() -> None:
    async def run() -> None:
        clock, go = Clock(), asyncio.Event()
        answers = [RUNS, RUNS, PAUSED]
        asked = 0

        async def read(keys: Collection[str]) -> Mapping[str, Target]:
            nonlocal asked
            found = answers[asked]
            asked += 1
            if asked == 2:
                await go.wait()
            return {"ana/qa": found}

        table = RouteTable(read, clock=clock)
        await table.get("ana/qa")
        clock.now += FRESH + 0.01
        assert table.young("ana/qa") == RUNS  # and is read anew, which takes a while
        await asyncio.sleep(0)
        assert asked == 2
        clock.now += 0.01
        table.changed(7)
        go.set()
        await asyncio.sleep(0)
        assert table.young("ana/qa") in (None, PAUSED)
        assert await table.get("ana/qa") == PAUSED
        await table.close()

    asyncio.run(run())
