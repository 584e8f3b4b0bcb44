from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hub_records
from lanza.database import Database
from lanza.hub.downloads import ONE_DOWNLOAD, Downloads
from lanza.hub.records import Repo


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = hub_records.database(tmp_path)
    with made.writing() as session:
        hub_records.account(session, "ana")
        hub_records.repo(session, "ana/one")
        hub_records.repo(session, "ana/two")
    yield made
    made.close()


class Clock:
    """A clock that stands until it is moved."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def counted(database: Database) -> list[int]:
    with database.reading() as session:
        return [session.get_one(Repo, number).downloads for number in (1, 2)]


def test_all_that_one_client_takes_is_one_download_until_an_hour_has_passed(database: Database) -> None:
    clock = Clock()
    downloads = Downloads(database, clock=clock)
    for _ in range(10):
        downloads.count(1, "10.0.0.1")
    downloads.count(1, "10.0.0.2")
    downloads.count(2, "10.0.0.1")
    clock.time = ONE_DOWNLOAD
    downloads.count(1, "10.0.0.1")
    downloads.write()
    assert counted(database) == [3, 1]


def test_counts_wait_and_are_written_together(database: Database) -> None:
    clock = Clock()
    downloads = Downloads(database, clock=clock, every=10)
    downloads.count(1, "a")
    clock.time = 9
    downloads.count(2, "b")
    assert counted(database) == [0, 0]
    clock.time = 10
    downloads.count(1, "c")
    assert counted(database) == [2, 1]
    downloads.write()
    assert counted(database) == [2, 1]


def test_a_database_that_cannot_be_written_loses_no_count(database: Database) -> None:
    downloads = Downloads(database)
    downloads.count(1, "a")
    with database.engine.begin() as other:
        other.exec_driver_sql("ALTER TABLE repos RENAME TO away")
    downloads.write()
    with database.engine.begin() as other:
        other.exec_driver_sql("ALTER TABLE away RENAME TO repos")
    assert counted(database) == [0, 0]
    downloads.write()
    assert counted(database) == [1, 0]


def test_a_repository_that_is_gone_is_no_error(database: Database) -> None:
    downloads = Downloads(database)
    downloads.count(99, "a")
    downloads.write()
    assert counted(database) == [0, 0]
