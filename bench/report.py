"""From the record of a run to tables: pure, so that a page can be made again from results.json alone.

Absolute figures are medians over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from goals import HEAD, Goal, Spread, Verdict, missed
from page import Marks, busy_words, machine_words, table, versions

MARKS: Final = Marks(script="bench/run.py")

TITLES: Final[Mapping[str, str]] = {
    "bare": "bare loop, forward pass only",
    "bare_whole": "bare loop, with tokenizer and pooling",
    "lanza": "**Lanza**",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "tutorial": "FastAPI + transformers",
}

Record = Mapping[str, Any]


OF_THE_LOOP: Final = Goal(what="requests/s, of the bare loop's", bound=0.85, most=False, form=".2f")
OVER_THE_LOOP: Final = Goal(what="p50 over the bare loop's, ms", bound=0.7, most=True, form="+.2f")
OF_PEERS: Final = Goal(what="requests/s, of the better peer's", bound=2.0, most=False, form=".2f")
OF_TUTORIAL: Final = Goal(what="requests/s, of FastAPI + transformers'", bound=12.0, most=False, form=".1f")
COLD_SCRIPT: Final = Goal(what="cold start, of the bare script's", bound=3.0, most=True, form=".2f")
COLD_TUTORIAL: Final = Goal(what="cold start, of FastAPI + transformers'", bound=1 / 6, most=True, form=".3f")


def verdicts(results: Record) -> list[Verdict]:
    """Every goal that the run has figures for."""
    found = [verdict for record in results["serving"] for verdict in _serving_verdicts(record)]
    cold = results.get("cold_start") or {}
    for name, goal in (("script", COLD_SCRIPT), ("tutorial", COLD_TUTORIAL)):
        if cold.get("lanza") and cold.get(name):
            pairs = zip(cold["lanza"], cold[name], strict=True)
            found.append(
                Verdict(goal=goal, where="FP32", spread=Spread.of([ours / theirs for ours, theirs in pairs]))
            )
    return found


def _serving_verdicts(record: Record) -> Iterable[Verdict]:
    rounds, where = record["rounds"], _where(record)
    if not all("lanza" in figures for figures in rounds):
        return

    def verdict(goal: Goal, value: Callable[[Record], float]) -> Verdict:
        return Verdict(goal=goal, where=where, spread=Spread.of([value(figures) for figures in rounds]))

    def times(figures: Record, *names: str) -> float:
        ours: float = figures["lanza"]["per_second"]
        theirs: float = max(figures[name]["per_second"] for name in names)
        return ours / theirs

    if record["clients"] == 1:
        yield verdict(OVER_THE_LOOP, lambda it: it["lanza"]["p50_ms"] - it["bare"]["p50_ms"])
    else:
        yield verdict(OF_THE_LOOP, lambda it: times(it, "bare"))
    peers = [name for name in ("litserve", "bentoml") if name in rounds[0]]
    if peers:
        yield verdict(OF_PEERS, lambda it: times(it, *peers))
    if "tutorial" in rounds[0]:
        yield verdict(OF_TUTORIAL, lambda it: times(it, "tutorial"))


def page(results: Record) -> list[str]:
    """The generated part of the page."""
    found = verdicts(results)
    lines = [f"Measured {results['started'][:10]} on {_machine(results)}.", ""]
    lines += [*busy_words(results), *missed(found)]
    lines += ["### Against the goals", "", *table(HEAD, [verdict.row for verdict in found])]
    for record in results["serving"]:
        lines += ["", f"### {_where(record)}", "", *_figures(record)]
    lines += ["", "### Cold start", "", *_cold(results.get("cold_start") or {})]
    return lines


def _where(record: Record) -> str:
    clients = "1 client" if record["clients"] == 1 else f"{record['clients']} clients"
    return f"{record['precision'].upper()}, {record['tokens']} tokens, {clients}"


def _machine(results: Record) -> str:
    machine = results["machine"]
    return (
        f"{machine_words(machine)}, {machine['wrk']}; {versions(machine['packages'])}. "
        f"{results['rounds']} rounds of {results['seconds']:g} s each; load average at the start "
        f"{results['load_average']:.2f}; the hypervisor took {results['stolen_seconds']:.0f} CPU seconds"
    )


def _figures(record: Record) -> list[str]:
    rounds = record["rounds"]
    rows = []
    for name in TITLES:
        if name not in rounds[0]:
            continue
        ratios = (
            Spread.of([it["lanza"]["per_second"] / it[name]["per_second"] for it in rounds])
            if ("lanza" in rounds[0])
            else None
        )
        middle = {
            key: median(it[name][key] for it in rounds)
            for key in ("per_second", "p50_ms", "p99_ms", "cpu_ms")
        }
        rows.append(
            (
                TITLES[name],
                f"{middle['per_second']:.1f}",
                _latency(name, record, middle["p50_ms"]),
                _latency(name, record, middle["p99_ms"]),
                f"{middle['cpu_ms']:.2f}",
                ratios.text(".2f") if ratios and name != "lanza" else "",
            )
        )
    head = ("", "per second", "p50 ms", "p99 ms", "CPU ms each", "Lanza's rate, times this")
    return [*table(head, rows), "", *_settings(record)]


def _latency(name: str, record: Record, value: float) -> str:
    """The loop's latency under load is a batch's, which no caller waits for: it would mislead here."""
    return "" if name.startswith("bare") and record["clients"] > 1 else f"{value:.2f}"


def _settings(record: Record) -> list[str]:
    chosen = [
        f"{TITLES[name]}: " + ", ".join(f"`{key}={value}`" for key, value in settings.items())
        for name, settings in record["settings"].items()
    ]
    near = f"The graph's vectors are within a cosine of {record['nearness']:.5f} of the original's. "
    return [f"{near}Loop: {record['loop']}. " + ". ".join(chosen) + ("." if chosen else "")]


def _cold(cold: Mapping[str, Sequence[float]]) -> list[str]:
    titles = {"script": "bare script", "lanza": "**Lanza**", "tutorial": "FastAPI + transformers"}
    rows = [(titles[name], Spread.of(seconds).text(".3f")) for name, seconds in cold.items() if seconds]
    return table(("", "seconds from process start to first right answer"), rows)
