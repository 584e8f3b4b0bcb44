"""Serving, measured: Lanza against the bare onnxruntime loop and against its peers, side by side in one run.

Writes bench/results.json and the tables of docs/benchmarks.md when the run was a whole one on a quiet machine
(or with --write); else only prints them. `--tune` searches the peers' best settings first and keeps them in
bench/tuned.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import machine
import report
import tune
from cold import measure_cold_starts
from contestants import ALL, Contestant, Settings
from load import LOADS, Load, LoadFailed
from processes import ServerFailed
from progress import may_begin, say
from rounds import Plan, measure_all
from subject import PRECISIONS, Subject, prepare

ROOT: Final = Path(__file__).parent.parent
WORK: Final = ROOT / "build" / "bench"
RESULTS: Final = Path(__file__).with_name("results.json")
PAGE: Final = ROOT / "docs" / "benchmarks.md"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 2 s: to see that it works")
    parser.add_argument("--seconds", type=float, default=8, help="of each turn (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of turns (3)")
    parser.add_argument("--cold", type=int, default=5, help="cold starts of each; 0 for none (5)")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--tokens", nargs="+", type=int, choices=sorted({it.tokens for it in LOADS}))
    parser.add_argument("--clients", nargs="+", type=int, choices=sorted({it.clients for it in LOADS}))
    parser.add_argument("--only", nargs="+", choices=[it.name for it in ALL], default=[])
    parser.add_argument("--tune", action="store_true", help="search the peers' best settings, and end")
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    parser.add_argument(
        "--write", action="store_true", help="write results and page whatever kind of run it is"
    )
    parser.add_argument("--page", action="store_true", help="only write the page anew from results.json")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.page:
        report.MARKS.write(PAGE, report.page(json.loads(RESULTS.read_text())))
        return 0
    if shutil.which("wrk") is None:
        say("wrk is not here: apt-get install wrk")
        return 1
    busy = machine.load_average() > machine.QUIET
    if not may_begin(force=given.force):
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    WORK.mkdir(parents=True, exist_ok=True)
    plan = _plan(given)
    try:
        subjects = prepare(WORK, given.precision)
        if given.tune:
            tune.tune(subjects, plan, machine.describe())
            return 0
        results = _measure(subjects, plan, busy=busy, cold=1 if given.quick else given.cold)
    except (ServerFailed, LoadFailed) as error:
        say(f"Nothing was measured: {error}")
        return 1
    _finish(results, given, busy=busy)
    return 0


def _plan(given: argparse.Namespace) -> Plan:
    seconds = 2.0 if given.quick else given.seconds
    return Plan(
        seconds=seconds,
        warm_up=min(2.0, seconds),
        rounds=1 if given.quick else given.rounds,
        work=WORK,
        only=given.only,
        loads=[
            load
            for load in LOADS
            if load.tokens in (given.tokens or [load.tokens])
            and load.clients in (given.clients or [load.clients])
        ],
    )


def _measure(subjects: list[Subject], plan: Plan, *, busy: bool, cold: int) -> dict[str, Any]:
    tuned = tune.read()
    here = machine.describe()
    if not machine.same_machine(tuned.get("machine", {}), here):
        say("The peers were not tuned on this machine: `bench/run.py --tune` first, to be fair to them.")

    def choose(contestant: Contestant, precision: str, load: Load) -> Settings:
        return tune.settings_of(tuned, contestant, precision, load)

    results: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": here,
        "busy": busy,
        "load_average": machine.load_average(),
        "tuned_here": machine.same_machine(tuned.get("machine", {}), here),
        "seconds": plan.seconds,
        "rounds": plan.rounds,
    }
    stolen, begun = machine.stolen(), time.monotonic()
    results["serving"] = measure_all(subjects, plan, choose)
    with_weights = [subject for subject in subjects if subject.precision == "fp32"]
    if cold and with_weights:
        results["cold_start"] = measure_cold_starts(with_weights[0], WORK, times=cold)
    results["stolen_seconds"] = machine.stolen() - stolen
    results["took_seconds"] = round(time.monotonic() - begun)
    return results


def _finish(results: dict[str, Any], given: argparse.Namespace, *, busy: bool) -> None:
    part = (
        given.quick or given.only or given.tokens or given.clients or len(given.precision) < len(PRECISIONS)
    )
    keep = given.write or not (part or busy)
    target = RESULTS if keep else WORK / "results.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    if keep:
        report.MARKS.write(PAGE, report.page(results))
    print("\n".join(report.page(results)))
    say(f"Written to {target.relative_to(ROOT)}" + (f" and {PAGE.relative_to(ROOT)}." if keep else "."))


if __name__ == "__main__":
    sys.exit(main())
