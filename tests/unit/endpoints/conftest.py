from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import new_database
from endpoint_world import ReadyFolders, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = new_database(tmp_path)
    yield World(database=database, folders=ReadyFolders(tmp_path))
    database.close()
