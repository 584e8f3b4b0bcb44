"""Backups of a server: no table is left out, and what ran is not thought to run where it is restored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Table, func, insert, inspect, select, table, text

from lanza.database import Base, Database, Moment
from lanza.errors import UsageError
from lanza.hub.hub import Hub
from lanza.server.copies import backup, restore
from lanza.server.folder import DataFolder, hub_of
from lanza.server.settings import ServerSettings

FORGOTTEN = {"endpoint_replicas", "endpoint_loads", "leases", "multiparts", "xorbs"}
VALUES: dict[type, Any] = {
    int: 7,
    str: "x",
    float: 1.5,
    bool: True,
    bytes: b"x",
    dict: {"a": [1]},
    datetime: datetime(2026, 11, 20, tzinfo=UTC),
}


def row_of(made: Table) -> dict[str, Any]:
    """A row with something in every column; the same for each type, so that keys lead to each other."""
    row = {}
    for column in made.columns:
        match column.type:
            case Moment():
                kind: type = datetime
            case JSON():
                kind = dict
            case other:
                kind = other.python_type
        row[column.name] = VALUES[kind]
    return row


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub with a row in every table, and the repository that one of them means."""
    folder = DataFolder(path=tmp_path / "data")
    folder.git.mkdir(parents=True)
    opened = hub_of(ServerSettings(data=folder.path, upstream=None))
    opened.database.migrate()
    with opened.database.writing() as session:
        for made in Base.metadata.sorted_tables:
            session.execute(insert(made), row_of(made))
        session.execute(text("UPDATE sqlite_sequence SET seq = 20"))  # those in between are gone
    opened.git.create(7, author="ana")
    yield opened
    opened.database.close()


def counts(database: Database) -> dict[str, int]:
    """How many rows each table has that there is, whether the code knows it or not."""
    with database.engine.connect() as connection:
        names = set(inspect(connection).get_table_names()) - {"alembic_version"}
        return {
            name: connection.scalar(select(func.count()).select_from(table(name))) or 0
            for name in sorted(names)
        }


@pytest.mark.parametrize("apart", [False, True], ids=["in the folder", "in a database"])
def test_every_table_is_restored_but_what_ran(hub: Hub, tmp_path: Path, apart: bool) -> None:
    assert set(counts(hub.database).values()) == {1}
    backup(hub, tmp_path / "data", tmp_path / "saved")
    again = tmp_path / "again"
    database = Database(f"sqlite:///{tmp_path / 'other.db' if apart else again / 'lanza.db'}")
    restore(tmp_path / "saved", again, database=database if apart else None)
    found = counts(database)
    assert {name for name, count in found.items() if count == 0} <= FORGOTTEN | {"hub_state"}
    assert set(found) >= FORGOTTEN
    with database.reading() as session:  # numbers that were given are not given again
        given = dict(session.execute(text("SELECT name, seq FROM sqlite_sequence")).all())
    assert given.items() >= dict.fromkeys(("accounts", "audit", "endpoints", "repos"), 20).items()
    database.close()


def test_a_database_with_endpoints_alone_is_not_empty(hub: Hub, tmp_path: Path) -> None:
    backup(hub, tmp_path / "data", tmp_path / "saved")
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    database.migrate()
    leases = Base.metadata.tables["leases"]
    with database.writing() as session:
        session.execute(insert(leases), row_of(leases))
    with pytest.raises(UsageError, match="has records already"):
        restore(tmp_path / "saved", tmp_path / "again", database=database)
    database.close()
