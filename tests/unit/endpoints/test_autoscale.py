"""The number of replicas by properties: its bounds, up at once, down after calm, and after a restart."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.endpoints.autoscale import Load, Wanted, desired_replicas, remembered, wanted_now
from lanza.endpoints.spec import Measure, Scaling

NOW: Final = 1_000_000.0
LONG_AGO: Final = NOW - 1e6


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    most = draw(st.integers(1, 100))
    measure = draw(st.sampled_from(Measure))
    return Scaling(
        min_replica=draw(st.integers(0, most)),
        max_replica=most,
        scale_down_after=draw(st.floats(0, 10_000)),
        measure={measure: draw(st.none() | st.floats(0.01, 1000))},
    )


loads = st.builds(
    Load,
    in_flight=st.integers(0, 10_000),
    held=st.integers(0, 10_000),
    average=st.floats(0, 20_000),
    cpu=st.floats(0, 4),
)


@st.composite
def histories(draw: st.DrawFn, scaling: Scaling) -> list[Wanted]:
    moments = sorted(draw(st.lists(st.floats(NOW - 20_000, NOW), max_size=20)))
    wanted = st.integers(scaling.min_replica, scaling.max_replica)
    return [Wanted(at=moment, replicas=draw(wanted)) for moment in moments]


@given(loads, scalings(), st.integers(0, 100))
def test_a_moment_wants_what_is_allowed(load: Load, scaling: Scaling, ready: int) -> None:
    wanted = wanted_now(load, scaling, ready=ready, now=NOW)
    assert scaling.min_replica <= wanted.replicas <= scaling.max_replica
    assert wanted.at == NOW
    if load.pending:
        assert wanted.replicas >= 1


@given(loads, loads, scalings(), st.integers(0, 100))
def test_more_load_never_wants_less(load: Load, more: Load, scaling: Scaling, ready: int) -> None:
    higher = Load(
        in_flight=load.in_flight + more.in_flight,
        held=load.held + more.held,
        average=load.average + more.average,
        cpu=load.cpu + more.cpu,
    )
    few = wanted_now(load, scaling, ready=ready, now=NOW)
    assert wanted_now(higher, scaling, ready=ready, now=NOW).replicas >= few.replicas


@given(st.data(), scalings(), st.integers(0, 200))
def test_the_number_is_within_bounds_and_at_least_one(
    data: st.DataObject, scaling: Scaling, current: int
) -> None:
    history = data.draw(histories(scaling))
    known_since = data.draw(st.floats(LONG_AGO, NOW + 1000))
    number = desired_replicas(history, scaling, current=current, known_since=known_since, now=NOW)
    assert max(1, scaling.min_replica) <= number <= scaling.max_replica


@given(st.data(), loads, scalings())
def test_it_goes_up_at_once(data: st.DataObject, load: Load, scaling: Scaling) -> None:
    wanted = wanted_now(load, scaling, ready=1, now=NOW)
    history = remembered(data.draw(histories(scaling)), wanted, scaling)
    assert desired_replicas(history, scaling, current=1, known_since=LONG_AGO, now=NOW) >= wanted.replicas


@given(st.data(), scalings())
def test_it_goes_down_only_after_calm(data: st.DataObject, scaling: Scaling) -> None:
    history = data.draw(histories(scaling))
    number = desired_replicas(history, scaling, current=0, known_since=LONG_AGO, now=NOW)
    for it in history:
        if it.at > NOW - scaling.scale_down_after:
            assert number >= it.replicas
    later = NOW + scaling.scale_down_after
    calm = [*history, Wanted(at=later, replicas=scaling.min_replica)]
    least = desired_replicas(calm, scaling, current=100, known_since=LONG_AGO, now=later)
    assert least == max(1, scaling.min_replica)


@given(st.data(), scalings(), st.integers(1, 100), st.floats(0, 0.99))
def test_after_a_restart_none_is_stopped_until_the_calm_is_known(
    data: st.DataObject, scaling: Scaling, current: int, share: float
) -> None:
    scaling = replace_after(scaling, 300.0)
    history = data.draw(histories(scaling))
    known_since = NOW - share * 300.0
    number = desired_replicas(history, scaling, current=current, known_since=known_since, now=NOW)
    assert number >= min(current, scaling.max_replica)


@given(st.data(), scalings())
def test_what_is_remembered_decides_as_all_of_it_would(data: st.DataObject, scaling: Scaling) -> None:
    history = data.draw(histories(scaling))
    kept: tuple[Wanted, ...] = ()
    for it in history:
        kept = remembered(kept, it, scaling)
        assert len(kept) <= scaling.max_replica + 1
    last = history[-1].at if history else NOW
    whole, part = (
        desired_replicas(it, scaling, current=1, known_since=LONG_AGO, now=last) for it in (history, kept)
    )
    assert whole == part


def replace_after(scaling: Scaling, seconds: float) -> Scaling:
    tree: dict[str, Any] = {name: getattr(scaling, name) for name in scaling.__struct_fields__}
    return Scaling(**{**tree, "scale_down_after": seconds})


@pytest.mark.parametrize(
    ("load", "measure", "ready", "wanted"),
    [
        (Load(), None, 0, 0),
        (Load(in_flight=1), None, 0, 1),
        (Load(average=8.0), None, 1, 1),
        (Load(average=8.1), None, 1, 2),
        (Load(held=80), None, 0, 4),
        (Load(in_flight=32), {"requestsPerReplica": None}, 1, 2),
        (Load(in_flight=3, held=3), {"requestsPerReplica": 2}, 1, 3),
        (Load(cpu=0.8), {"hardwareUsage": None}, 2, 2),
        (Load(cpu=0.9), {"hardwareUsage": 80}, 2, 3),
        (Load(cpu=1.0), {"hardwareUsage": 80}, 0, 0),
    ],
)
def test_what_a_load_wants(
    load: Load, measure: dict[str, float | None] | None, ready: int, wanted: int
) -> None:
    scaling = Scaling(max_replica=4, measure=measure)
    assert wanted_now(load, scaling, ready=ready, now=NOW).replicas == wanted
