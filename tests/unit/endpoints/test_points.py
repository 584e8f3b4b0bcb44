from __future__ import annotations

from datetime import UTC, datetime, timedelta

from endpoint_world import World
from lanza.endpoints import points
from lanza.endpoints.records import Point

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def put(world: World, *minutes: int) -> int:
    """A point for each minute after noon; the number of requests is the minute's."""
    world.create()
    number = world.endpoint.id
    with world.database.writing() as session:
        session.add_all(
            Point(
                endpoint_id=number,
                minute=points.minute_of(NOON) + it,
                requests=it,
                errors=1,
                seconds=0.5,
                slowest=float(it),
                replicas=it,
                cost=0.25,
            )
            for it in minutes
        )
    return number


def read(world: World, number: int, *, hours: float = 24, step: int = 1) -> list[points.Step]:
    with world.database.reading() as session:
        return points.series(
            session, number, points.Window(since=NOON, until=NOON + timedelta(hours=hours), step=step)
        )


def test_minutes_are_read_as_they_are(world: World) -> None:
    number = put(world, 0, 1, 5)
    assert [it.requests for it in read(world, number)] == [0, 1, 5]
    assert read(world, number + 1) == []


def test_wider_steps_add_up_and_keep_the_most(world: World) -> None:
    number = put(world, 1, 2, 14, 15, 40)
    found = read(world, number, step=15)
    first = points.minute_of(NOON)
    assert [(it.minute - first, it.requests, it.errors) for it in found] == [
        (0, 17, 3),
        (15, 15, 1),
        (30, 40, 1),
    ]
    assert (found[0].slowest, found[0].replicas, found[0].cost, found[0].seconds) == (14.0, 14, 0.75, 1.5)


def test_an_answer_is_bounded(world: World) -> None:
    number = put(world, *range(0, 4000, 2))
    assert len(read(world, number, hours=100)) <= points.MOST


def test_old_points_are_removed(world: World) -> None:
    number = put(world, 0, 1, 2)
    with world.database.writing() as session:
        assert points.forget_old(session, NOON + points.KEEP_POINTS + timedelta(minutes=2)) == 2
    assert [it.requests for it in read(world, number)] == [2]


def test_what_replicas_cost_is_in_the_points(world: World) -> None:
    world.create(compute={"scaling": {"minReplica": 1}})
    world.pass_time(130)
    number, end = world.endpoint.id, world.moment
    with world.database.reading() as session:
        found = points.series(session, number, points.Window(since=end - timedelta(hours=1), until=end))
    assert [it.requests for it in found] == [0, 0, 0]
    assert 0.119 <= sum(it.cost for it in found) <= 0.13
