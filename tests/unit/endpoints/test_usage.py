"""Time and money by properties: sums over days, periods, a clock that goes backwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databases import new_database
from lanza.database import Database
from lanza.endpoints import usage
from lanza.endpoints.decide import Money
from lanza.endpoints.spec import Budget

moments: Final = st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC)
)
spans: Final = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=70))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


@given(moments, spans, st.floats(0, 100))
def test_a_replicas_time_is_charged_to_the_days_that_it_ran(
    since: datetime, span: timedelta, price: float
) -> None:
    amounts = usage.replica_time("ana/becas", since=since, until=since + span, price_per_hour=price)
    assert sum(it.replica_seconds for it in amounts) == pytest.approx(span.total_seconds())
    assert sum(it.cost for it in amounts) == pytest.approx(span.total_seconds() / 3600 * price)
    assert all(0 < it.replica_seconds <= 86_400 for it in amounts)
    days = [date.fromisoformat(it.day) for it in amounts]
    assert days == sorted(set(days))
    assert days == [since.date() + timedelta(days=n) for n in range(len(days))]


@given(moments, spans)
def test_a_clock_that_goes_backwards_costs_nothing(moment: datetime, back: timedelta) -> None:
    assert usage.replica_time("ana/becas", since=moment, until=moment - back, price_per_hour=1) == []


@given(moments, spans, spans)
def test_parts_cost_what_the_whole_does(since: datetime, first: timedelta, second: timedelta) -> None:
    middle, until = since + first, since + first + second
    parts = [
        *usage.replica_time("a/b", since=since, until=middle, price_per_hour=2),
        *usage.replica_time("a/b", since=middle, until=until, price_per_hour=2),
    ]
    whole = usage.replica_time("a/b", since=since, until=until, price_per_hour=2)
    for day in {it.day for it in whole}:
        expected = sum(it.cost for it in whole if it.day == day)
        assert sum(it.cost for it in parts if it.day == day) == pytest.approx(expected)


@given(moments, st.sampled_from(["day", "month", "total"]))
def test_a_period_begins_at_its_first_day_and_holds_the_moment(moment: datetime, period: str) -> None:
    start = usage.period_start(period, moment)
    assert start <= usage.day_of(moment)
    if period == "month":
        assert start == f"{moment:%Y-%m}-01"
    before = (moment.replace(day=1) if period == "month" else moment) - timedelta(days=1)
    assert (usage.day_of(before) >= start) == (period == "total")


@given(st.floats(0, 1e6), st.floats(0.01, 1e6))
def test_who_is_over_the_budget_was_warned(spent: float, budget: float) -> None:
    money = Money(spent=spent, budget=budget)
    assert not money.over or money.warns
    assert money.over == (spent >= budget)
    assert not Money(spent=spent).over
    assert not Money(spent=spent).warns


@pytest.mark.parametrize(
    ("period", "moment", "spent"),
    [
        ("day", datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), 4.0),
        ("month", datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), 6.0),
        ("day", datetime(2026, 12, 1, tzinfo=UTC), 8.0),
        ("month", datetime(2026, 12, 1, tzinfo=UTC), 8.0),
        ("total", datetime(2026, 12, 1, tzinfo=UTC), 15.0),
    ],
)
def test_a_budget_counts_its_own_period(
    database: Database, period: str, moment: datetime, spent: float
) -> None:
    costs = [("2026-10-31", 1.0), ("2026-11-01", 2.0), ("2026-11-30", 4.0), ("2026-12-01", 8.0)]
    known = [it for it in costs if it[0] <= usage.day_of(moment)]
    with database.writing() as session:
        usage.add(session, [usage.Used(endpoint="ana/becas", day=day, cost=cost) for day, cost in known])
        usage.add(session, [usage.Used(endpoint="ana/other", day="2026-12-01", cost=99.0)])
        assert usage.spent(session, "ana/becas", Budget(amount=1, period=period), moment) == spent


def test_amounts_add_up(database: Database) -> None:
    one = usage.Used(
        endpoint="ana/becas",
        day="2026-11-30",
        token="ana/ci",
        requests=1,
        errors=1,
        tokens_in=3,
        tokens_out=4,
    )
    with database.writing() as session:
        usage.add(session, [one, one])
        usage.add(session, [one])
    with database.reading() as session:
        row = session.get(usage.Usage, ("ana/becas", "2026-11-30", "ana/ci"))
        assert row is not None
        assert (row.requests, row.errors, row.tokens_in) == (3, 3, 9)
