"""What the gateway costs: a replica asked directly, and through gateway, authentication, metering.

Turns of one round are near in time, and only one of them runs at a time, as in bench/rounds.py. Directly, the
load generator speaks TCP to the replica; through the gateway it speaks TCP to that, and the gateway speaks to
the replica over a Unix socket, as it does when the local platform has started it.

    python bench/gateway/run.py [--quick] [--only handler|minilm] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # where the modules lie that all of bench/ shares

import machine
from load import Figures, run_wrk
from processes import cpu_seconds, free_port, stop
from servers import ask

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
WORK: Final = ROOT / "build" / "bench"
RESULTS: Final = HERE / "results.json"
CLIENTS: Final = (1, 32, 256)
PATIENCE: Final = 60.0
HANDLER: Final = """
class EndpointHandler:
    def __init__(self, path=""):
        pass

    def __call__(self, data):
        return {"length": len(data["inputs"])}
"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is served: a spec's fields for a replica, and the bodies that it is asked with."""

    name: str
    spec: dict[str, Any]
    bodies: Sequence[bytes]


def handler() -> Work:
    folder = WORK / "handler"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "handler.py").write_text(HANDLER)
    spec = {
        "folder": str(folder),
        "engine": "handler",
        "why": "bench",
        "name": "handler",
        "home": str(WORK / "home"),
    }
    return Work(name="handler", spec=spec, bodies=[b'{"inputs": "hola"}'])


def minilm() -> Work:
    from tokenizers import Tokenizer

    from subject import TASK, prepare
    from texts import make_texts

    if not (WORK / "int8" / "model.onnx").is_file():
        prepare(WORK, ["fp32", "int8"])
    tokenizer = Tokenizer.from_file(str(WORK / "int8" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    folder = str(WORK / "int8")
    spec = {
        "folder": folder,
        "graph": f"{folder}/model.onnx",
        "engine": "onnx",
        "why": "bench",
        "name": "minilm",
        "home": str(WORK / "home"),
        "task": TASK,
    }
    bodies = [json.dumps({"inputs": text}).encode() for text in make_texts(tokenizer, tokens=14, count=64)]
    return Work(name="minilm", spec=spec, bodies=bodies)


WORKS: Final = {"handler": handler, "minilm": minilm}


@contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    kept = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with log.open("wb") as output:
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=kept, start_new_session=True
        )
        try:
            yield started
        finally:
            stop(started)


@contextmanager
def direct(work: Work, folder: Path) -> Iterator[tuple[int, str, dict[str, str], list[int]]]:
    """The replica on a port."""
    port = free_port()
    path = folder / "spec.json"
    path.write_text(json.dumps({**work.spec, "port": port}))
    with process(sys.executable, "-m", "lanza.replica", str(path), log=folder / "replica.log") as replica:
        until_answered(port, "/", work, {})
        yield port, "/", {}, [replica.pid]


@contextmanager
def through(work: Work, folder: Path) -> Iterator[tuple[int, str, dict[str, str], list[int]]]:
    """The replica on a Unix socket, and the gateway on a port."""
    port, socket = free_port(), folder / "replica.sock"
    path = folder / "spec.json"
    path.write_text(json.dumps({**work.spec, "uds": str(socket)}))
    with (
        process(sys.executable, "-m", "lanza.replica", str(path), log=folder / "replica.log") as replica,
        process(
            sys.executable,
            str(HERE / "server.py"),
            str(folder),
            str(port),
            f"unix:{socket}",
            log=folder / "gateway.log",
        ) as gateway,
    ):
        token = folder / "token"
        wait(token.exists)
        headers = {"Authorization": f"Bearer {token.read_text()}"}
        until_answered(port, "/endpoints/bench/subject", work, headers)
        yield port, "/endpoints/bench/subject", headers, [gateway.pid, replica.pid]


WAYS: Final = {"direct": direct, "gateway": through}


def wait(done: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("a server did not come up: see its log")
        time.sleep(0.02)


def until_answered(port: int, path: str, work: Work, headers: dict[str, str]) -> None:
    wait(lambda: ask(port, path, work.bodies[0], headers)[0] == 200)


def turn(way: str, work: Work, clients: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="lanza-bench-") as name:
        folder = Path(name)
        with WAYS[way](work, folder) as (port, path, headers, processes):
            url = f"http://127.0.0.1:{port}{path}"

            def load(duration: float) -> Figures:
                return run_wrk(
                    url, work.bodies, clients=clients, seconds=duration, work=folder, headers=headers
                )

            load(min(2.0, seconds))
            before = cpu_seconds(processes[0])
            figures = load(seconds)
            spent = cpu_seconds(processes[0]) - before
            return replace(figures, cpu_ms=spent * 1e3 / (figures.per_second * seconds))


def measure(work: Work, clients: int, *, seconds: float, rounds: int) -> dict[str, Any]:
    found: list[dict[str, Figures]] = []
    for number in range(rounds):
        order = list(WAYS) if number % 2 == 0 else list(reversed(WAYS))
        found.append({way: turn(way, work, clients, seconds) for way in order})
        for way in WAYS:
            print(f"{work.name:<8} {clients:>3} clients  {way:<8} {found[-1][way].words}", flush=True)
    ratios = [it["gateway"].per_second / it["direct"].per_second for it in found]
    added = [it["gateway"].p50_ms - it["direct"].p50_ms for it in found]
    print(
        f"{work.name:<8} {clients:>3} clients  ratio {median(ratios):.2f}, p50 {median(added):+.2f} ms",
        flush=True,
    )
    return {
        "work": work.name,
        "clients": clients,
        "ratio": round(median(ratios), 3),
        "added_p50_ms": round(median(added), 3),
        "rounds": [{way: asdict(figures) for way, figures in it.items()} for it in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of 2 s: to see that it works")
    parser.add_argument("--seconds", type=float, default=8, help="of each turn (8)")
    parser.add_argument("--rounds", type=int, default=3, help="of turns (3)")
    parser.add_argument("--only", choices=list(WORKS))
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--write", action="store_true", help="keep the figures in bench/gateway/results.json")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    seconds, rounds = (2.0, 1) if given.quick else (given.seconds, given.rounds)
    results: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "load_average": machine.load_average(),
        "seconds": seconds,
        "measured": [
            measure(WORKS[name](), clients, seconds=seconds, rounds=rounds)
            for name in ([given.only] if given.only else WORKS)
            for clients in given.clients
        ],
    }
    if given.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
