"""The simulated day: its traffic, that no request is lost or served early, what replicas are charged."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from lanza.endpoints.spec import Scaling

HOUR = 3600.0


def requests(bench: Any, *moments: float, seconds: float = 0.3) -> list[Any]:
    return [bench("autoscale.traffic").Request(at=at, seconds=seconds) for at in moments]


def run(bench: Any, given: list[Any], scaling: Scaling, *, start: float = 2.0) -> Any:
    return bench("autoscale.world").Day(given, scaling, start=start, length=HOUR).run()


def test_a_day_is_the_same_for_a_seed_and_quiet_at_night(bench: Any) -> None:
    traffic = bench("autoscale.traffic")
    day = traffic.day(traffic.Traffic(), service=0.3)
    assert day == traffic.day(traffic.Traffic(), service=0.3)
    assert day != traffic.day(traffic.Traffic(seed=1), service=0.3)
    assert not [it for it in day if 2 * HOUR < it.at < 4 * HOUR]
    assert sum(it.seconds for it in day) / len(day) == pytest.approx(0.3, rel=0.02)
    assert day == sorted(day, key=lambda it: it.at)


def test_always_on_is_paid_for_every_second(bench: Any) -> None:
    outcome = run(bench, requests(bench, 10.0, 20.0), Scaling(min_replica=2, max_replica=2))
    assert outcome.seconds == pytest.approx(2 * HOUR)
    assert (outcome.starts, outcome.waits) == (0, [0.0, 0.0])


def test_from_zero_a_request_waits_for_the_start_and_the_idle_time_is_paid(bench: Any) -> None:
    outcome = run(bench, requests(bench, 100.0, 1000.0), Scaling(scale_to_zero_timeout=5))
    assert outcome.starts == 2
    assert outcome.waits == pytest.approx([2.0, 2.0], abs=0.6)
    assert outcome.seconds == pytest.approx(2 * 300, abs=10)


def test_a_burst_brings_replicas_up_to_the_most(bench: Any) -> None:
    burst = requests(bench, *(100 + number * 0.05 for number in range(2000)))
    one, four = (run(bench, burst, Scaling(max_replica=most)) for most in (1, 4))
    assert len(one.waits) == len(four.waits) == 2000
    assert max(count for _, count in four.counts) == 4
    assert 0 <= four.wait(0.99) < one.wait(0.99) / 3
    assert four.hours > one.hours


def test_one_replica_does_one_at_a_time(bench: Any) -> None:
    outcome = run(bench, requests(bench, 5.0, 5.0, 5.0, seconds=1.0), Scaling(min_replica=1))
    assert outcome.waits == pytest.approx([0.0, 1.0, 2.0])


def test_the_plot_is_svg_with_a_panel_for_each(bench: Any) -> None:
    plot = bench("autoscale.plot")
    values = plot.binned([(0.0, 1.0), (100.0, 3.0), (400.0, 0.0)])
    assert values[:3] == [3.0, 3.0, 0.0]
    root = ElementTree.fromstring(plot.page({"requests": values, "replicas": values}))
    assert len(root.findall("{http://www.w3.org/2000/svg}path")) == 2
