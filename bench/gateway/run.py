"""What the gateway costs: a replica asked directly, through gateway, authentication and metering, and peers.

Turns of one round are near in time, and only one of them runs at a time. Writes bench/gateway/results.json
and its tables in docs/benchmarks.md when the run was a whole one on a quiet machine (or with --write); else
only prints them.

    python bench/gateway/run.py [--tune] [--quick] [--only handler|minilm] [--clients N ...] [--write]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # where the modules lie that all of bench/ shares

import psutil  # type: ignore[import-untyped]

import machine
from contestants import Settings
from gateway import report
from gateway.report import PEERS
from gateway.wake import wake
from gateway.ways import WAYS, Running, Way
from gateway.works import WORKS, Work
from load import Figures, LoadFailed, run_wrk
from processes import ServerFailed
from progress import may_begin, say
from tune import Search

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
WORK: Final = ROOT / "build" / "bench"
RESULTS: Final = HERE / "results.json"
TUNED: Final = HERE / "tuned.json"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
CLIENTS: Final = (1, 32, 256)
TUNED_FOR: Final = (1, 32)
"""Numbers of clients that peers are tuned for; more are asked with the settings for the most of these."""
WARM_UP: Final = 2.0
PACKAGES: Final = (
    "lanza", "onnxruntime", "tokenizers", "numpy", "uvicorn", "uvloop", "httptools", "bentoml", "ray",
)  # fmt: skip


def turn(way: Way, work: Work, clients: int, seconds: float, settings: Settings) -> Figures:
    """One server's turn: started, checked, warmed up, measured, stopped. ServerFailed, LoadFailed."""
    with tempfile.TemporaryDirectory(prefix="lanza-bench-") as name:
        folder = Path(name)
        with way.open(work, folder, settings) as running:
            _load(running, work, clients, min(WARM_UP, seconds), folder)
            before = _cpu_seconds(running.pid)
            figures = _load(running, work, clients, seconds, folder)
            spent = _cpu_seconds(running.pid) - before
            return replace(figures, cpu_ms=spent * 1e3 / (figures.per_second * seconds))


def _load(running: Running, work: Work, clients: int, seconds: float, folder: Path) -> Figures:
    bodies = [running.body(text) for text in work.inputs]
    return run_wrk(
        running.url, bodies, clients=clients, seconds=seconds, work=folder, headers=running.headers
    )


def _cpu_seconds(pid: int) -> float:
    """Of the process that was asked, the server or the replica, and of none that it has started."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measure(
    work: Work, clients: int, ways: Sequence[str], *, seconds: float, rounds: int, tuned: Mapping[str, Any]
) -> dict[str, Any]:
    chosen = {name: settings_for(tuned, name, work.name, clients) for name in ways}
    found: list[dict[str, Any]] = []
    for number in range(rounds):
        order = ways if number % 2 == 0 else [*reversed(ways)]
        figures = {name: turn(WAYS[name], work, clients, seconds, chosen[name]) for name in order}
        for name in ways:
            say(f"{work.name:<8} {clients:>3} clients  {name:<8} {figures[name].words}")
        found.append({name: asdict(figures[name]) for name in ways})
    return {
        "work": work.name,
        "title": work.title,
        "clients": clients,
        "settings": {name: dict(settings) for name, settings in chosen.items() if settings},
        "rounds": found,
    }


def settings_for(tuned: Mapping[str, Any], way: str, work: str, clients: int) -> Settings:
    """What was found best for the most clients that are not more than `clients`; else the beginning."""
    found = [it for it in tuned.get("entries", []) if (it["way"], it["work"]) == (way, work)]
    fitting = [it for it in found if it["clients"] <= clients]
    chosen: Settings = (
        max(fitting, key=lambda it: it["clients"])["settings"] if fitting else WAYS[way].first(work)
    )
    return chosen


def tune(works: Sequence[Work], seconds: float) -> None:
    """Search the peers' settings, one pass; tuned.json is written after each search, so that none is lost."""
    known = _read(TUNED)
    entries = {(it["way"], it["work"], it["clients"]): it for it in known.get("entries", [])}
    for work in works:
        for clients in TUNED_FOR:
            for name in PEERS:
                say(f"tuning {name}, {work.name}, {clients} clients")
                attempt = partial(turn, WAYS[name], work, clients, seconds)
                search = Search(WAYS[name].grid[work.name], attempt, clients=clients, passes=1)
                best = dict(search.run())
                entries[name, work.name, clients] = {
                    "way": name,
                    "work": work.name,
                    "clients": clients,
                    "settings": best,
                    "tries": search.tries,
                }
                found = {"machine": machine.describe(PACKAGES), "entries": list(entries.values())}
                TUNED.write_text(json.dumps(found, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 2 s: to see that it works")
    parser.add_argument("--tune", action="store_true", help="only search the peers' best settings")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn (5)")
    parser.add_argument("--rounds", type=int, default=3, help="of turns (3)")
    parser.add_argument("--only", choices=list(WORKS))
    parser.add_argument("--ways", choices=list(WAYS), nargs="+", default=list(WAYS))
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    parser.add_argument("--write", action="store_true", help="keep results and page whatever run it is")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the results")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.page:
        report.MARKS.write(PAGE, report.page(_read(RESULTS)))
        return 0
    busy = machine.load_average() > machine.QUIET
    if not may_begin(force=given.force):
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        works = [WORKS[name](WORK) for name in ([given.only] if given.only else WORKS)]
        if given.tune:
            tune(works, 2.0)
        else:
            _finish(_measure(works, given, busy=busy), given)
    except (ServerFailed, LoadFailed) as error:
        say(f"Nothing was measured: {error}")
        return 1
    return 0


def _measure(works: Sequence[Work], given: argparse.Namespace, *, busy: bool) -> dict[str, Any]:
    seconds, rounds = (2.0, 1) if given.quick else (given.seconds, given.rounds)
    begun, stolen, tuned = time.monotonic(), machine.stolen(), _read(TUNED)
    results: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(PACKAGES),
        "busy": busy,
        "load_average": machine.load_average(),
        "seconds": seconds,
        "rounds": rounds,
        "wake_seconds": wake(1 if given.quick else 5) if given.only is None else [],
        "measured": [
            measure(work, clients, given.ways, seconds=seconds, rounds=rounds, tuned=tuned)
            for work in works
            for clients in given.clients
        ],
    }
    results["stolen_seconds"] = machine.stolen() - stolen
    results["took_seconds"] = round(time.monotonic() - begun)
    return results


def _finish(results: dict[str, Any], given: argparse.Namespace) -> None:
    whole = not (given.quick or given.only or results["busy"])
    whole = whole and set(given.ways) == set(WAYS) and set(given.clients) == set(CLIENTS)
    keep = given.write or whole
    target = RESULTS if keep else WORK / "gateway-results.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    lines = report.page(results)
    if keep:
        report.MARKS.write(PAGE, lines)
    print("\n".join(lines))
    say(f"Written to {target.relative_to(ROOT)}" + (f" and {PAGE.relative_to(ROOT)}." if keep else "."))


if __name__ == "__main__":
    sys.exit(main())
