"""What the gateway costs: a replica asked directly, and through gateway, authentication, metering.

Turns of one round are near in time, and only one of them runs at a time, as in bench/rounds.py. Directly, the
load generator speaks TCP to the replica; through the gateway it speaks TCP to `lanza up`, where the same
model was pushed and deployed, and which speaks to the replica over a Unix socket.

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

import psutil  # type: ignore[import-untyped]

import machine
from load import Figures, run_wrk
from processes import free_port, listens, stop
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
    """The same model as an endpoint of `lanza up`, on all cores."""
    port, data = free_port(), folder / "data"
    words = ("-m", "lanza", "up", "--port", str(port), "--data", str(data), "--no-upstream")
    with process(sys.executable, *words, log=folder / "server.log") as server:
        token = data / "admin.token"
        wait(lambda: token.exists() and listens(port))
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        path = deployed(f"http://127.0.0.1:{port}", token.read_text().strip(), work)
        until_answered(port, path, work, headers)
        yield port, path, headers, [server.pid]


def deployed(url: str, token: str, work: Work) -> str:
    """Push and deploy it as anybody would; gives the endpoint's path."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import get_session

    api = HfApi(endpoint=url, token=token)
    me = api.whoami()["name"]
    repository = api.create_repo("subject", exist_ok=True).repo_id
    api.upload_folder(folder_path=work.spec["folder"], repo_id=repository)
    wanted = {
        "name": "subject",
        "type": "protected",
        "provider": {"vendor": "lanza", "region": "local"},
        "compute": {"instanceSize": f"x{len(os.sched_getaffinity(0))}", "scaling": {"minReplica": 1}},
        "model": {"repository": repository, "task": work.spec.get("task")},
    }
    asked = get_session().post(
        f"{url}/v2/endpoint/{me}", json=wanted, headers={"Authorization": f"Bearer {token}"}
    )
    if asked.is_error:
        raise SystemExit(f"it cannot be deployed: {asked.text}")
    return f"/endpoints/{me}/subject"


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


def cpu_seconds(pid: int) -> float:
    """Of the process that was asked, the server or the replica, and of none that it has started."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


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
