"""Lists, measured: the first page of each kind of query among 100 repositories and among 100,000.

Two real servers over databases that `catalogue.py` filled are asked in turns, on one kept connection each. A
round is `REQUESTS` answers of each; what is compared are the medians of rounds. A page has `LIMIT`
repositories at most. Where a query finds fewer among the hundred, the answer there is shorter, and that
counts against the larger one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parent.parent)  # where the modules lie that all of bench/ shares

from hub import report
from hub.catalogue import OLD, fill
from hub.cluster import cluster
from hub.ours import started
from lanza.database import Database
from processes import ServerFailed
from progress import say

ROOT: Final = Path(__file__).parent.parent.parent
WORK: Final = ROOT / "build" / "bench" / "listing"
SIZES: Final = (100, 100_000)
LIMIT: Final = 100
ROUNDS: Final = 5
REQUESTS: Final = 15

QUERIES: Final[Mapping[str, str]] = {
    "everything": "",
    "everything, by downloads": "sort=downloads",
    "everything, oldest first": "sort=createdAt&direction=1",
    "a common tag": "filter=transformers",
    "a common tag, by likes": "filter=transformers&sort=likes",
    "a rare tag": "filter=dataset:corpus90",
    "no such tag": "filter=nothing-has-this",
    "three common tags": "filter=transformers,en,license:mit",
    "three common tags, by downloads": "filter=transformers,en,license:mit&sort=downloads",
    "two common tags, never together": "filter=bert,roberta",
    "three tags, never together": "filter=transformers,text-generation,fill-mask",
    "a common tag of what changed long ago": f"filter={OLD}",
    "the same, and another": f"filter={OLD},transformers",
    "a task": "pipeline_tag=question-answering",
    "a task and a language": "pipeline_tag=question-answering&filter=es",
    "a common part of names": "search=bert",
    "two common parts of names": "search=bert%20base",
    "a rare part of names": "search=swin-mini-awq",
    "two letters that are rare": "search=gx",
    "no such part of names": "search=zzz",
    "no such part, of common runs": "search=bertbase",
    "one letter": "search=q",
    "an owner of many": "author=owner1",
    "an owner of many, and a tag": "author=owner1&filter=es",
    "an owner of few": "author=owner3",
    "no such owner": "author=nobody",
    "a range of many": "num_parameters=min:6B,max:128B",
    "a range of few": "num_parameters=min:7.34B,max:7.3401B",
    "a range of none": "num_parameters=min:20B,max:60B",
    "a range of none, within a common octave": "num_parameters=min:7.4B,max:7.8B",
    "an open range": "num_parameters=min:1M",
    "a range and tags, never together": "num_parameters=min:6B&filter=bert,roberta",
    "a range and a tag": "num_parameters=min:6B&filter=es",
    "gated": "gated=true",
    "gated, and a tag": "gated=true&filter=es",
    "not gated, and no such part": "gated=false&search=zzz",
    "all at once": "search=bert&filter=transformers,es&num_parameters=min:10M,max:1B&gated=false&sort=likes",
    "datasets in a language": "datasets?filter=es",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """`lanza up` over one database, and a connection to it."""

    connection: http.client.HTTPConnection
    token: str

    def ask(self, path: str, *, as_admin: bool = False) -> tuple[float, int, str]:
        """Milliseconds until the answer was there whole, how many it lists, and the next page's address."""
        headers = {"Authorization": f"Bearer {self.token}"} if as_admin else {}
        begun = time.perf_counter()
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - begun) * 1000
        if answer.status != 200:
            raise ServerFailed(f"{path}: {answer.status} {body[:300]!r}")
        link = answer.headers.get("Link", "")
        return took, len(json.loads(body)), link.partition(">")[0].removeprefix("<")


def measure(
    work: Path = WORK,
    *,
    postgres: bool = False,
    rounds: int = ROUNDS,
    sizes: Sequence[int] = SIZES,
    only: Collection[str] = (),
) -> dict[str, Any]:
    """For each query: milliseconds by size, how many were listed, the ratio of the last size to the first.

    `ratio` is the median of the rounds' ratios, `least` and `most` are their ends. `only` names some queries.
    """
    databases = [f"lanza{size}" for size in sizes]
    shutil.rmtree(work, ignore_errors=True)
    with ExitStack() as stack:
        urls = stack.enter_context(cluster(databases) if postgres else nullcontext({}))
        servers = []
        for size, name in zip(sizes, databases, strict=True):
            servers.append(stack.enter_context(_serving(work / str(size), size, urls.get(name))))
        queries = {name: address(query) for name, query in QUERIES.items() if name in (only or QUERIES)}
        found = {name: _compare(servers, [path] * len(servers), rounds) for name, path in queries.items()}
        if not only:
            found["everything, to the administrator"] = _compare(
                servers, [address("")] * len(servers), rounds, as_admin=True
            )
            deep = [_tenth(server, address("filter=transformers,safetensors&limit=5")) for server in servers]
            found["a page further on, of two common tags"] = _compare(servers, deep, rounds)
    return {"sizes": list(sizes), "database": "PostgreSQL" if postgres else "SQLite", "queries": found}


@contextmanager
def _serving(data: Path, size: int, url: str | None) -> Iterator[Server]:
    """A server over `size` repositories, new in the folder `data`."""
    say(f"Writing {size:,} repositories ...")
    data.mkdir(parents=True)
    database = Database(url or f"sqlite:///{data / 'lanza.db'}")
    database.migrate()
    fill(database, size)
    database.close()
    with started(data, *(["--database", url] if url else []), "--no-upstream") as (address, _):
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        yield Server(connection=connection, token=(data / "admin.token").read_text().strip())
        connection.close()


def _compare(
    servers: Sequence[Server], paths: Sequence[str], rounds: int, *, as_admin: bool = False
) -> dict[str, Any]:
    """Ask the servers in turns, one path each, after one answer of each that does not count."""
    listed = [server.ask(path, as_admin=as_admin)[1] for server, path in zip(servers, paths, strict=True)]
    medians: list[list[float]] = []
    for _ in range(rounds):
        times: list[list[float]] = [[] for _ in servers]
        for _ in range(REQUESTS):
            for server, path, its in zip(servers, paths, times, strict=True):
                its.append(server.ask(path, as_admin=as_admin)[0])
        medians.append([median(its) for its in times])
    ratios = [last / first for first, *_, last in medians]
    return {
        "milliseconds": [round(median(its), 2) for its in zip(*medians, strict=True)],
        "listed": listed,
        "ratio": round(median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def address(query: str) -> str:
    """Where a query is asked: of models, unless it names datasets."""
    kind, mark, rest = query.rpartition("?")
    limit = "" if "limit=" in rest else f"&limit={LIMIT}"
    return f"/api/{kind if mark else 'models'}?{rest}{limit}"


def _tenth(server: Server, path: str) -> str:
    """The address of the tenth page, or of the last before it."""
    for _ in range(9):
        onward = server.ask(path)[2]
        if not onward:
            break
        parts = urlsplit(onward)
        path = f"{parts.path}?{parts.query}"
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Lists among 100 repositories and among 100,000.")
    parser.add_argument("--postgres", action="store_true", help="in a PostgreSQL of its own, not in SQLite")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of turns ({ROUNDS})")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=list(QUERIES),
        metavar="NAME",
        help="some of the queries",
    )
    parser.add_argument("--json", action="store_true", help="figures for programs")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    found = measure(postgres=given.postgres, rounds=given.rounds, only=given.only)
    print(json.dumps(found, indent=1) if given.json else "\n".join(report.listing(found)))


if __name__ == "__main__":
    main()
