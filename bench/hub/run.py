"""The Hub, measured: pushes against `cp` + `sha256sum`, pulls against nginx, and lists, in one run.

Writes bench/hub_results.json and its tables in docs/benchmarks.md when the run was a whole one on a quiet
machine (or with --write); else only prints them. It needs about 6 GiB of disk for as long as it runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # where the modules lie that all of bench/ shares

import machine
from hub import data, listing, report
from hub.clients import TurnFailed
from hub.peer import PROGRAM, nginx
from hub.turns import round_of, second_pushes
from processes import ServerFailed
from progress import may_begin, say

ROOT: Final = Path(__file__).parent.parent.parent
WORK: Final = ROOT / "build" / "bench" / "hub"
RESULTS: Final = ROOT / "bench" / "hub_results.json"
PAGE: Final = ROOT / "docs" / "benchmarks.md"

PACKAGES: Final = (
    "lanza", "huggingface_hub", "hf-xet", "uvicorn", "uvloop", "fastapi", "pygit2", "sqlalchemy", "blake3",
)  # fmt: skip
QUICK_LISTS: Final[dict[str, Any]] = {"rounds": 1, "sizes": (100, 1000)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 64 MiB: to see that it works")
    parser.add_argument("--rounds", type=int, default=4, help="of turns (4)")
    parser.add_argument("--only", choices=[case.name for case in data.WHOLE], help="one repository, no lists")
    parser.add_argument("--force", action="store_true", help="run although the machine is busy")
    parser.add_argument(
        "--write", action="store_true", help="write results and page whatever kind of run it is"
    )
    parser.add_argument("--page", action="store_true", help="only write the page anew from the results")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.page:
        report.MARKS.write(PAGE, report.page(json.loads(RESULTS.read_text())))
        return 0
    if lacking := [program for program in (PROGRAM, "curl") if shutil.which(program) is None]:
        say(f"{' and '.join(lacking)} not here: apt-get install nginx-light curl")
        return 1
    busy = machine.load_average() > machine.QUIET
    if not may_begin(force=given.force):
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        results = _measure(given, busy=busy)
    except (ServerFailed, TurnFailed) as error:
        say(f"Nothing was measured: {error}")
        return 1
    _finish(results, given)
    return 0


def _measure(given: argparse.Namespace, *, busy: bool) -> dict[str, Any]:
    rounds = 1 if given.quick else given.rounds
    load_average, stolen, begun = machine.load_average(), machine.stolen(), time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    say("Making the files ...")
    chosen = data.QUICK if given.quick else data.WHOLE
    cases = [data.make(case, WORK) for case in chosen if given.only in (None, case.name)]
    records: dict[str, list[Any]] = {made.case.name: [] for made in cases}
    with nginx(cases, WORK / "nginx") as peer:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for made in cases:
                records[made.case.name].append(round_of(number, made, WORK, peer))
    lists = None if given.only else listing.measure(WORK / "listing", **(QUICK_LISTS if given.quick else {}))
    again = [it for made in cases if made.case.files == 1 for it in second_pushes(made, WORK)]
    shutil.rmtree(WORK / "data")
    return {
        "started": started,
        "machine": {**machine.describe(PACKAGES), "programs": _programs()},
        "busy": busy,
        "load_average": load_average,
        "rounds": rounds,
        "cases": [_case(made.case, records[made.case.name]) for made in cases],
        "second_pushes": again,
        "listing": lists,
        "stolen_seconds": machine.stolen() - stolen,
        "took_seconds": round(time.monotonic() - begun),
    }


def _case(case: data.Case, rounds: list[Any]) -> dict[str, Any]:
    named = {"name": case.name, "title": case.title, "files": case.files, "bytes": case.bytes}
    return {**named, "rounds": rounds}


def _programs() -> list[str]:
    """The versions of what is compared with, as they give them themselves."""
    commands = ([PROGRAM, "-v"], ["curl", "--version"], ["sha256sum", "--version"])
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for command in commands]
    words = [(it.stdout or it.stderr).splitlines()[0] for it in done]
    return [words[0].removeprefix("nginx version: "), " ".join(words[1].split()[:2]), words[2]]


def _finish(results: dict[str, Any], given: argparse.Namespace) -> None:
    keep = given.write or not (given.quick or given.only or results["busy"])
    target = RESULTS if keep else WORK / "results.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    if keep:
        report.MARKS.write(PAGE, report.page(results))
    print("\n".join(report.page(results)))
    say(f"Written to {target.relative_to(ROOT)}" + (f" and {PAGE.relative_to(ROOT)}." if keep else "."))


if __name__ == "__main__":
    sys.exit(main())
