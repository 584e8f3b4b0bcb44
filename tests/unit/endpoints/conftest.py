from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth_app import migrated
from endpoint_world import ReadyFolders, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = migrated(tmp_path)
    yield World(database=database, folders=ReadyFolders(tmp_path))
    database.close()
