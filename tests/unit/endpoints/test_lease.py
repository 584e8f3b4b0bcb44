"""The lease: one holder at a time, by steady clocks that each process has for itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from auth_app import Clock
from databases import new_database
from lanza.database import Database
from lanza.endpoints.lease import Lease, clear
from lanza.endpoints.records import Lease as Row


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease(database: Database, clock: Clock, holder: str) -> Lease:
    return Lease(database, "endpoints", holder, seconds=6, clock=clock)


def until(database: Database) -> datetime:
    with database.reading() as session:
        return session.get_one(Row, "endpoints").until


def test_the_first_has_it_and_keeps_it(database: Database, clock: Clock) -> None:
    one, two = lease(database, clock, "one"), lease(database, clock, "two")
    for _ in range(20):
        assert one.beat()
        assert not two.beat()
        clock.now += 2
    assert not two.held


def test_a_silent_holder_loses_it_after_it_has_counted_itself_out(database: Database, clock: Clock) -> None:
    one, two = lease(database, clock, "one"), lease(database, clock, "two")
    assert one.beat()
    assert not two.beat()
    clock.now += 5
    assert not one.held
    assert not two.beat()
    clock.now += 1
    assert two.beat()
    assert not one.beat()


def test_of_two_that_take_it_at_once_one_gets_it(database: Database, clock: Clock) -> None:
    one, two, three = (lease(database, clock, name) for name in ("one", "two", "three"))
    one.beat()
    two.beat(), three.beat()
    clock.now += 6
    assert [two.beat(), three.beat()] == [True, False]


def test_who_comes_later_waits_the_whole_time_itself(database: Database, clock: Clock) -> None:
    lease(database, clock, "one").beat()
    clock.now += 100
    two = lease(database, clock, "two")
    assert not two.beat()
    clock.now += 6
    assert two.beat()


@pytest.mark.parametrize("days", [-400, 400])
def test_clocks_of_the_wall_that_jump_change_nothing(database: Database, clock: Clock, days: int) -> None:
    one, two = lease(database, clock, "one"), lease(database, clock, "two")
    one.beat()
    two.beat()
    with database.writing() as session:
        row = session.get_one(Row, "endpoints")
        row.until += timedelta(days=days)
    for _ in range(5):
        clock.now += 2
        before = until(database)
        assert one.beat()
        assert until(database) != before
        assert not two.beat()


def test_it_can_be_left_to_others(database: Database, clock: Clock) -> None:
    one, two = lease(database, clock, "one"), lease(database, clock, "two")
    one.beat()
    two.release()
    assert not two.beat()
    one.release()
    assert not one.held
    assert two.beat()


def test_a_new_server_over_the_folder_waits_for_nobody(database: Database, clock: Clock) -> None:
    lease(database, clock, "one").beat()
    with database.writing() as session:
        clear(session)
    assert lease(database, clock, "two").beat()
