"""A gateway with real connections, on uvloop and on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from databases import new_database
from wired import Wired


@pytest.fixture(params=["asyncio", "uvloop"])
def wired(request: Any, tmp_path: Path) -> Iterator[Wired]:
    database = new_database(tmp_path)
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=loops[request.param]) as runner:
            return runner.run(work)

    world = Wired(database=database, sockets=True, folder=tmp_path, run=run)
    world.endpoint(type="public", replicas=0)
    yield world
    database.close()
