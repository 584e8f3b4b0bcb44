"""A database and an application for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth_app import AuthApp
from databases import new_database
from lanza.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def app(database: Database) -> AuthApp:
    return AuthApp(database=database)
