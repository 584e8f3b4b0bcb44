"""A gateway for each test, over a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways import GatewayWorld, database_in


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GatewayWorld]:
    database = database_in(tmp_path)
    yield GatewayWorld(database=database)
    database.close()
