"""A gateway for each test, over a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import new_database
from gateways import GatewayWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GatewayWorld]:
    database = new_database(tmp_path)
    yield GatewayWorld(database=database)
    database.close()
