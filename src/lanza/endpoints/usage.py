"""What is used and what it costs: seconds of replicas times the price of their hardware, requests, tokens.

A replica costs from its start on, also while it starts. Sums are kept by day (UTC), so a budget's period is a
range of days, and none of it depends on what else is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lanza.database import insert_into
from lanza.endpoints.records import Usage
from lanza.endpoints.spec import Budget

HOUR: Final = 3600.0
SUMS: Final = ("requests", "errors", "tokens_in", "tokens_out", "replica_seconds", "cost")


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """An amount to add for an endpoint (`namespace/name`), a day, a token (`account/token`, or empty)."""

    endpoint: str
    day: str
    token: str = ""
    requests: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    replica_seconds: float = 0.0
    cost: float = 0.0


def day_of(moment: datetime) -> str:
    return moment.date().isoformat()


def period_start(period: str, moment: datetime) -> str:
    """The first day of the budget period that `moment` (UTC) is in."""
    match period:
        case "day":
            return day_of(moment)
        case "month":
            return day_of(moment.replace(day=1))
    return ""


def replica_time(endpoint: str, *, since: datetime, until: datetime, price_per_hour: float) -> list[Used]:
    """A replica's time, each day's on its day (UTC). A clock that went backwards costs nothing."""
    amounts = []
    while since < until:
        midnight = datetime.combine(since.date() + timedelta(days=1), time.min, UTC)
        end = min(until, midnight)
        seconds = (end - since).total_seconds()
        cost = seconds / HOUR * price_per_hour
        amounts.append(Used(endpoint=endpoint, day=day_of(since), replica_seconds=seconds, cost=cost))
        since = end
    return amounts


def add(session: Session, amounts: Iterable[Used]) -> None:
    """Add to what is there, in one statement for each row."""
    for one in amounts:
        values = {name: getattr(one, name) for name in (*SUMS, "endpoint", "day", "token")}
        statement = insert_into(session, Usage).values(**values)
        columns = Usage.__table__.c
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["endpoint", "day", "token"],
                set_={name: columns[name] + statement.excluded[name] for name in SUMS},
            )
        )


def spent(session: Session, endpoint: str, budget: Budget, moment: datetime) -> float:
    """Dollars in the budget's present period."""
    of = select(func.coalesce(func.sum(Usage.cost), 0.0)).where(
        Usage.endpoint == endpoint, Usage.day >= period_start(budget.period, moment)
    )
    return float(session.scalar(of) or 0.0)
