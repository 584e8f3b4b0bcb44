"""The history of an endpoint for charts: a point for each minute, kept for a while, read in wider steps.

Points are written by the gateway (what it carried) and by the loop (what it cost), each adding to what is
there. A minute in which nothing ran has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lanza.database import insert_into
from lanza.endpoints.records import Point

KEEP_POINTS: Final = timedelta(days=30)
MOST: Final = 1500
"""Points of one answer."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happened from `minute` (since 1970) on, until the next step. Seconds are those of all requests."""

    minute: int
    requests: int
    errors: int
    seconds: float
    slowest: float
    replicas: int
    cost: float


@dataclass(frozen=True, kw_only=True)
class Window:
    """From `since` to `until`, in steps of `step` minutes, or of as many as keep below `MOST` of them."""

    since: datetime
    until: datetime
    step: int = 1

    @property
    def minutes(self) -> int:
        """Of a step."""
        return max(1, self.step, -(-(minute_of(self.until) - minute_of(self.since)) // MOST))


def series(session: Session, endpoint: int, window: Window) -> list[Step]:
    """The steps with anything in them."""
    first, last, step = minute_of(window.since), minute_of(window.until), window.minutes
    start = func.min(Point.minute) - func.min(Point.minute) % step
    columns = Point.__table__.c
    rows = session.execute(
        select(
            start,
            func.sum(columns.requests),
            func.sum(columns.errors),
            func.sum(columns.seconds),
            func.max(columns.slowest),
            func.max(columns.replicas),
            func.sum(columns.cost),
        )
        .where(Point.endpoint_id == endpoint, Point.minute >= first, Point.minute <= last)
        .group_by(Point.minute - Point.minute % step)
        .order_by(start)
    )
    return [
        Step(
            minute=int(at),
            requests=int(requests),
            errors=int(errors),
            seconds=float(seconds),
            slowest=float(slowest),
            replicas=int(most),
            cost=float(cost),
        )
        for at, requests, errors, seconds, slowest, most, cost in rows
    ]


def add_cost(session: Session, endpoint: int, moment: datetime, cost: float) -> None:
    """Add what replicas have cost to the minute of `moment`."""
    nothing = {"requests": 0, "errors": 0, "seconds": 0.0, "slowest": 0.0, "replicas": 0}
    values = {"endpoint_id": endpoint, "minute": minute_of(moment), "cost": cost, **nothing}
    statement = insert_into(session, Point).values(values)
    added = {"cost": Point.__table__.c.cost + statement.excluded.cost}
    session.execute(statement.on_conflict_do_update(index_elements=["endpoint_id", "minute"], set_=added))


def forget_old(session: Session, moment: datetime) -> int:
    """Remove what is over `KEEP_POINTS` old. How many there were."""
    old = delete(Point).where(Point.minute < minute_of(moment - KEEP_POINTS))
    return int(session.execute(old).rowcount)  # type: ignore[attr-defined]


def minute_of(moment: datetime) -> int:
    return int(moment.timestamp() // 60)
