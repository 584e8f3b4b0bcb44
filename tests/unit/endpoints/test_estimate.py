from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_platform import SMALL
from lanza.endpoints.estimate import MONTH_HOURS, Expected, estimate, suggest
from lanza.endpoints.spec import Scaling
from lanza.errors import BadRequest

LARGE = replace(SMALL, size="x4", memory_bytes=2**32, price_per_hour=14.4)

expectations = st.builds(
    Expected,
    per_day=st.floats(0, 1e8),
    seconds=st.floats(0, 1000),
    peak=st.floats(1, 100),
    start=st.floats(0, 600),
)


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    most = draw(st.integers(1, 100))
    idle = draw(st.none() | st.floats(0.01, 1e4))
    return Scaling(min_replica=draw(st.integers(0, most)), max_replica=most, scale_to_zero_timeout=idle)


@given(expectations, scalings())
def test_nothing_costs_less_than_idle_or_more_than_the_worst(expected: Expected, scaling: Scaling) -> None:
    found = estimate(expected, scaling, SMALL)
    assert 0 <= found.idle <= found.expected * (1 + 1e-9)
    assert found.expected <= found.worst * (1 + 1e-9)
    assert found.worst == pytest.approx(scaling.max_replica * MONTH_HOURS * 3.6)
    assert (found.price_per_hour, found.price_as_of) == (3.6, "2026-11-01")


@given(expectations, st.floats(1, 100), scalings())
def test_more_requests_need_no_fewer_replicas(expected: Expected, times: float, scaling: Scaling) -> None:
    more = replace(expected, per_day=expected.per_day * times, start=0.0)
    few, many = (estimate(it, scaling, SMALL) for it in (replace(expected, start=0.0), more))
    assert few.replica_hours <= many.replica_hours * (1 + 1e-9)
    assert suggest(expected, [SMALL]).max_replica <= suggest(more, [SMALL]).max_replica


def test_nobody_asks_and_nothing_is_paid() -> None:
    found = estimate(Expected(per_day=0, seconds=1), Scaling(), SMALL)
    assert (found.idle, found.expected, found.starts) == (0.0, 0.0, 0.0)


def test_one_request_a_day_costs_its_start_and_the_idle_time() -> None:
    found = estimate(Expected(per_day=1, seconds=1, start=60), Scaling(scale_to_zero_timeout=15), SMALL)
    days = MONTH_HOURS / 24
    assert found.starts == pytest.approx(days, rel=0.02)
    assert found.replica_hours == pytest.approx(days * 16 / 60, rel=0.02)


def test_a_peak_is_what_replicas_are_counted_by() -> None:
    suggested = suggest(Expected(per_day=86_400, seconds=0.7, peak=4), [SMALL, LARGE], needs_bytes=2**31)
    assert (suggested.instance, suggested.min_replica, suggested.max_replica) == (LARGE, 0, 4)


def test_what_fits_nowhere_is_refused_with_the_figures() -> None:
    with pytest.raises(BadRequest, match=r"about 8\.0 GiB .* has 4\.0"):
        suggest(Expected(per_day=1, seconds=1), [SMALL, LARGE], needs_bytes=2**33)


@pytest.mark.parametrize("field", ["per_day", "seconds", "peak", "start"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_number_is_refused(field: str, value: float) -> None:
    with pytest.raises(BadRequest, match=field):
        Expected(**{"per_day": 1.0, "seconds": 1.0, field: value})
