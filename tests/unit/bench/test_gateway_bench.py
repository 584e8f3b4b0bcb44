"""The gateway's benchmark: which settings a peer is given, and what is said of a run."""

from __future__ import annotations

from typing import Any

ROUNDS = (
    {"direct": (1000, 30.0), "gateway": (900, 34.0), "bentoml": (600, 50.0), "ray": (500, 60.0)},
    {"direct": (1000, 30.0), "gateway": (700, 35.0), "bentoml": (650, 50.0), "ray": (800, 60.0)},
    {"direct": (1000, 30.0), "gateway": (850, 36.0), "bentoml": (600, 50.0), "ray": (500, 60.0)},
)


def results(clients: int = 32, wake: tuple[float, ...] = (0.5, 3.0, 0.7)) -> dict[str, Any]:
    rounds = [
        {
            name: {"per_second": rate, "p50_ms": p50, "p99_ms": 2 * p50, "cpu_ms": 0.2}
            for name, (rate, p50) in it.items()
        }
        for it in ROUNDS
    ]
    record = {"work": "minilm", "title": "MiniLM", "clients": clients, "settings": {}, "rounds": rounds}
    return {"wake_seconds": list(wake), "measured": [record]}


def test_each_goal_is_the_median_of_ratios_within_a_round(bench: Any) -> None:
    report = bench("gateway.report")
    found = {it.goal: it for it in report.verdicts(results())}
    assert found.keys() == {report.OF_BARE, report.OF_PEER, report.WAKE}
    assert (found[report.OF_BARE].spread.middle, found[report.OF_BARE].met) == (0.85, True)
    # Against the better peer of that round: 900/600, 700/800, 850/600.
    assert round(found[report.OF_PEER].spread.middle, 2) == 1.42
    assert (found[report.WAKE].spread.middle, found[report.WAKE].met) == (0.7, True)


def test_latency_is_a_goal_at_one_client_only(bench: Any) -> None:
    report = bench("gateway.report")
    found = {it.goal: it for it in report.verdicts(results(clients=1, wake=()))}
    assert found.keys() == {report.ADDED, report.OF_PEER}
    assert (found[report.ADDED].spread.middle, found[report.ADDED].met) == (5.0, False)


def test_a_peer_has_the_settings_for_the_most_clients_that_were_searched(bench: Any) -> None:
    run = bench("gateway.run")
    entries = [
        {"way": "ray", "work": "minilm", "clients": clients, "settings": {"replicas": clients}}
        for clients in (1, 32)
    ]
    found = [run.settings_for({"entries": entries}, "ray", "minilm", clients) for clients in (1, 32, 256)]
    assert [it["replicas"] for it in found] == [1, 32, 32]
    assert run.settings_for({}, "ray", "handler", 1) == {"ingress": "fast", "replicas": 1}
    assert run.settings_for({}, "gateway", "handler", 1) == {}
