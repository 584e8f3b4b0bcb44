"""What autoscaling saves, and what it costs in waiting: a simulated day, by the server's own pure functions.

.venv/bin/python bench/autoscale/run.py             # a minute or two; prints the tables
.venv/bin/python bench/autoscale/run.py --write     # also into docs/benchmarks.md, and the plot

Nothing is measured here, so any machine gives the same figures: requests come from a seed, replicas are
numbers. The price is that of an example, 0.10 dollars an hour.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from autoscale.plot import BINS, binned, page  # noqa: E402
from autoscale.traffic import DAY, Request, Traffic, day  # noqa: E402
from autoscale.world import Day, Outcome  # noqa: E402
from lanza.endpoints.spec import Scaling  # noqa: E402
from page import Marks, table  # noqa: E402

DOCS: Final = HERE.parents[1] / "docs"
PLOT: Final = DOCS / "images/autoscale.svg"
MARKS: Final = Marks(script="bench/autoscale/run.py")

SERVICE: Final = 0.3
START: Final = 2.0
PRICE: Final = 0.10

SETTINGS: Final[Mapping[str, Scaling]] = {
    "the default: 0 to 1": Scaling(),
    "always on: 1": Scaling(min_replica=1, max_replica=1),
    "0 to 8": Scaling(max_replica=8),
    "1 to 8": Scaling(min_replica=1, max_replica=8),
    "always on: 8": Scaling(min_replica=8, max_replica=8),
    "0 to 8, up at 2 for each": Scaling(max_replica=8, measure={"requestsPerReplica": 2}),
    "0 to 8, idle for 2 min": Scaling(max_replica=8, scale_to_zero_timeout=2),
    "0 to 8, calm for 30 s": Scaling(max_replica=8, scale_down_after=30),
}
QUIET: Final = Traffic(mean=0.002, bursts=2, burst_rate=1)
FEW: Final[Mapping[str, Scaling]] = {
    "the default: 0 to 1": Scaling(),
    "0 to 1, idle for 2 min": Scaling(scale_to_zero_timeout=2),
    "always on: 1": Scaling(min_replica=1, max_replica=1),
}
SHOWN: Final = ("the default: 0 to 1", "0 to 8", "0 to 8, up at 2 for each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="into docs/, between its marks")
    given = parser.parse_args()
    requests, outcomes = simulated(Traffic(), SETTINGS)
    lines = [
        "A busy endpoint. One replica cannot carry its bursts, whatever the policy: what waits is not refused"
        " here, as the gateway would after the deadline.",
        "",
        *report(requests, outcomes),
        "",
        f"![Requests and replicas over the day](images/{PLOT.name})",
        "",
        "An endpoint that few ask.",
        "",
        *report(*simulated(QUIET, FEW)),
    ]
    print("\n".join(lines))
    if given.write:
        MARKS.write(DOCS / "benchmarks.md", lines)
        PLOT.write_text(page(dict(panels(requests, outcomes))), encoding="utf-8")


def simulated(
    traffic: Traffic, settings: Mapping[str, Scaling]
) -> tuple[Sequence[Request], Mapping[str, Outcome]]:
    requests = day(traffic, service=SERVICE)
    return requests, {name: Day(requests, it, start=START).run() for name, it in settings.items()}


def report(requests: Sequence[Request], outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    """A sentence and a table."""
    head = ("replicas", "replica-hours", "dollars a day", "starts", "waiting p50 s", "p99 s", "longest s")
    rows = [
        (
            name,
            f"{it.hours:.1f}",
            f"{it.hours * PRICE:.2f}",
            str(it.starts),
            f"{it.wait(0.5):.2f}",
            f"{it.wait(0.99):.2f}",
            f"{it.wait(1.0):.1f}",
        )
        for name, it in outcomes.items()
    ]
    yield f"{len(requests):,} requests of {SERVICE:g} s on average; a replica is ready after {START:g} s."
    yield ""
    yield from table(head, rows)


def panels(
    requests: Sequence[Request], outcomes: Mapping[str, Outcome]
) -> Iterator[tuple[str, Sequence[float]]]:
    counts = [0.0] * BINS
    for it in requests:
        counts[int(it.at / DAY * BINS)] += BINS / DAY
    yield "requests per second, in each five minutes", counts
    for name in SHOWN:
        yield f"replicas: {name}", binned(outcomes[name].counts)


if __name__ == "__main__":
    main()
