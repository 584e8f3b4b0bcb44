"""From the record of a run to tables: pure, so that a page can be made again from results.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

from goals import HEAD, Goal, Spread, Verdict, missed
from page import Marks, busy_words, machine_words, table, versions

MARKS: Final = Marks(script="bench/gateway/run.py")

Record = Mapping[str, Any]

OF_BARE: Final = Goal(what="requests/s, of the bare replica's", bound=0.8, most=False, form=".2f")
ADDED: Final = Goal(what="p50 over the bare replica's, ms", bound=1.0, most=True, form="+.2f")
OF_PEER: Final = Goal(what="requests/s, of the better peer's", bound=1.0, most=False, form=".2f")
WAKE: Final = Goal(what="from zero to the answer, s", bound=2.0, most=True, form=".2f")
PEERS: Final = ("bentoml", "ray")
TITLES: Final[Mapping[str, str]] = {
    "direct": "the replica alone",
    "gateway": "**through Lanza's gateway**",
    "bentoml": "BentoML",
    "ray": "Ray Serve",
}
COLUMNS: Final = (
    "",
    "requests/s",
    "of the replica alone",
    "p50 ms",
    "p99 ms",
    "CPU ms of the one asked",
    "settings",
)


def verdicts(results: Record) -> list[Verdict]:
    """Every goal that the run has figures for."""
    found = [verdict for record in results["measured"] for verdict in _of(record)]
    if results["wake_seconds"]:
        where = "MiniLM, converted by the server"
        found.append(Verdict(goal=WAKE, where=where, spread=Spread.of(results["wake_seconds"])))
    return found


def _of(record: Record) -> Iterator[Verdict]:
    rounds, clients = record["rounds"], record["clients"]
    where = f"{record['title']}, {clients} client{'s' if clients > 1 else ''}"
    if {"direct", "gateway"} <= set(rounds[0]):
        if (record["work"], clients) == ("minilm", 32):
            yield Verdict(goal=OF_BARE, where=where, spread=_rate(rounds, ["direct"]))
        if clients == 1:
            added = [it["gateway"]["p50_ms"] - it["direct"]["p50_ms"] for it in rounds]
            yield Verdict(goal=ADDED, where=where, spread=Spread.of(added))
    peers = [name for name in PEERS if name in rounds[0]]
    if peers and "gateway" in rounds[0]:
        yield Verdict(goal=OF_PEER, where=where, spread=_rate(rounds, peers))


def _rate(rounds: Sequence[Record], others: Sequence[str]) -> Spread:
    """The gateway's requests/s, of the best of `others` in the same round."""
    best = [max(it[name]["per_second"] for name in others) for it in rounds]
    return Spread.of([it["gateway"]["per_second"] / rate for it, rate in zip(rounds, best, strict=True)])


def page(results: Record) -> list[str]:
    """The generated part of the page."""
    found = verdicts(results)
    lines = [f"Measured {results['started'][:10]} on {_machine(results)}.", ""]
    lines += [*busy_words(results), *missed(found)]
    lines += ["### The gateway against its goals", "", *table(HEAD, [verdict.row for verdict in found])]
    for record in results["measured"]:
        clients = record["clients"]
        title = f"{record['title']}, {clients} client{'s' if clients > 1 else ''}"
        lines += ["", f"### {title}", "", *_figures(record)]
    return lines


def _machine(results: Record) -> str:
    machine = results["machine"]
    return (
        f"{machine_words(machine)}; {machine['wrk']}; {versions(machine['packages'])}. Rounds: "
        f"{results['rounds']} of {results['seconds']:g} s; load average at the start "
        f"{results['load_average']:.2f}; the hypervisor took {results['stolen_seconds']:.0f} CPU seconds of "
        f"{results['took_seconds']:.0f} s"
    )


def _figures(record: Record) -> list[str]:
    rounds = record["rounds"]
    rows = []
    for name in rounds[0]:
        rates = [it[name]["per_second"] for it in rounds]
        of_direct = ""
        if name != "direct" and "direct" in rounds[0]:
            ratios = [it[name]["per_second"] / it["direct"]["per_second"] for it in rounds]
            of_direct = Spread.of(ratios).text(".2f")
        settings = record["settings"].get(name, {})
        rows.append(
            (
                TITLES[name],
                f"{median(rates):.0f}",
                of_direct,
                f"{median(it[name]['p50_ms'] for it in rounds):.2f}",
                f"{median(it[name]['p99_ms'] for it in rounds):.2f}",
                f"{median(it[name]['cpu_ms'] for it in rounds):.2f}" if name not in PEERS else "",
                ", ".join(f"{key} {value}" for key, value in settings.items()),
            )
        )
    return table(COLUMNS, rows)
