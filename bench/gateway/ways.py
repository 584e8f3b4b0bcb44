"""How what is served can be reached: the replica directly, through the gateway, and by the peers' servers.

A way is a context: within it a server is up that has given right answers, and at its end nothing is left.
Directly, the load speaks TCP to the replica. Through the gateway it speaks TCP to `lanza up`, where the same
model was pushed and deployed for callers with a token of its owner, and which speaks to the replica over a
Unix socket. The peers check no token and meter nothing: theirs is the easier work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import contestants
from contestants import BENTOML, CORES, Settings, Stand, for_stand
from gateway.works import Work, body, listed
from processes import ServerFailed, free_port, last_words, listens, stop
from servers import ask

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 180.0
TOGETHER: Final = 32


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where to send bodies, and the process that gets them."""

    port: int
    path: str
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[str], bytes] = body

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


Open = Callable[[Work, Path, Settings], AbstractContextManager[Running]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """`grid` has, for each work, the settings that are worth a search, beginning at the first of each."""

    open: Open
    grid: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)

    def first(self, work: str) -> Settings:
        return {name: values[0] for name, values in self.grid.get(work, {}).items()}


@contextmanager
def _process(
    words: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            yield started
        finally:
            stop(started)


def _ours() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@contextmanager
def direct(work: Work, folder: Path, _: Settings) -> Iterator[Running]:
    """The replica on a port."""
    port, path, log = free_port(), folder / "spec.json", folder / "replica.log"
    told = {"folder": str(work.folder), "why": "bench", "name": work.name, "home": str(folder), "port": port}
    path.write_text(json.dumps({**told, **work.spec}))
    with _process([sys.executable, "-m", "lanza.replica", str(path)], log, _ours()) as process:
        running = Running(port=port, path="/", pid=process.pid)
        _until_right(running, process, work, log)
        yield running


@contextmanager
def through(work: Work, folder: Path, _: Settings) -> Iterator[Running]:
    """The same model as an endpoint of `lanza up`, on all cores."""
    port, data, log = free_port(), folder / "data", folder / "server.log"
    words = ["-m", "lanza", "up", "--port", str(port), "--data", str(data), "--no-upstream"]
    with _process([sys.executable, *words], log, _ours()) as process:
        token = data / "admin.token"
        _wait(lambda: token.exists() and listens(port), process, log)
        secret = token.read_text().strip()
        path = deployed(f"http://127.0.0.1:{port}", secret, work)
        running = Running(
            port=port, path=path, pid=process.pid, headers={"Authorization": f"Bearer {secret}"}
        )
        _until_right(running, process, work, log)
        yield running


def deployed(url: str, token: str, work: Work) -> str:
    """Push and deploy it as anybody would; gives the endpoint's path."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import get_session

    api = HfApi(endpoint=url, token=token)
    me = api.whoami()["name"]
    repository = api.create_repo("subject", exist_ok=True).repo_id
    api.upload_folder(folder_path=work.folder, repo_id=repository)
    wanted = {
        "name": "subject",
        "type": "protected",
        "provider": {"vendor": "lanza", "region": "local"},
        "compute": {"instanceSize": f"x{CORES}", "scaling": {"minReplica": 0}},
        "model": {"repository": repository, "task": work.spec.get("task")},
    }
    headers = {"Authorization": f"Bearer {token}"}
    asked = get_session().post(f"{url}/v2/endpoint/{me}", json=wanted, headers=headers)
    if asked.is_error:
        raise ServerFailed(f"it cannot be deployed: {asked.text}")
    return f"/endpoints/{me}/subject"


def _peer(
    command: Callable[[Work, Stand], Sequence[str]], bodies: Mapping[str, Callable[[str], bytes]]
) -> Open:
    @contextmanager
    def opened(work: Work, folder: Path, settings: Settings) -> Iterator[Running]:
        log = folder / "peer.log"
        stand = Stand(folder=work.folder, port=free_port(), settings=settings)
        with tempfile.TemporaryDirectory(prefix="ray-") as short:  # sockets lie below it
            environment = for_stand(stand, folder) | {"BENCH_RAY": short}
            with _process(command(work, stand), log, environment) as process:
                running = Running(
                    port=stand.port, path="/predict", pid=process.pid, body=bodies.get(work.name, body)
                )
                _until_right(running, process, work, log)
                yield running

    return opened


def _bentoml(work: Work, stand: Stand) -> Sequence[str]:
    services = {"handler": "contestants.bentoml_handler:Handler", "minilm": "contestants.bentoml_app:Encoder"}
    return contestants.bentoml(services[work.name])(stand)


def _ray(work: Work, stand: Stand) -> Sequence[str]:
    served = {"handler": "handler", "minilm": "encoder"}[work.name]
    return [sys.executable, str(ROOT / "bench" / "contestants" / "ray_app.py"), served]


def _until_right(running: Running, process: subprocess.Popen[bytes], work: Work, log: Path) -> None:
    """Wait for a first answer, then ask for all, many at once: batching must not mix them up."""

    def asked(number: int) -> tuple[int, bytes]:
        content = running.body(work.inputs[number])
        return ask(running.port, running.path, content, running.headers)

    _wait(lambda: listens(running.port) and asked(0)[0] == 200, process, log)
    with ThreadPoolExecutor(TOGETHER) as pool:
        for number, (status, answer) in enumerate(pool.map(asked, range(len(work.inputs)))):
            if status != 200 or not work.right(number, json.loads(answer)):
                raise ServerFailed(f"a wrong answer, {status}: {answer[:300]!r}\n{last_words(log)}")


def _wait(done: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServerFailed(f"a server did not come up:\n{last_words(log)}")
        time.sleep(0.02)


WAYS: Final[Mapping[str, Way]] = {
    "direct": Way(open=direct),
    "gateway": Way(open=through),
    "bentoml": Way(
        open=_peer(_bentoml, {"minilm": listed}),
        grid={
            "handler": {"workers": (CORES, 1), "service_threads": (1, CORES)},
            "minilm": {
                name: BENTOML.grid[name]
                for name in ("batchable", "max_batch_size", "workers", "threads", "service_threads")
            }
            | {"max_latency_ms": (60000,)},
        },
    ),
    "ray": Way(
        open=_peer(_ray, {}),
        grid={
            "handler": {"ingress": ("fast", "proxy", "haproxy"), "replicas": (1, CORES)},
            "minilm": {
                "ingress": ("fast", "proxy", "haproxy"),
                "replicas": (1, CORES),
                "threads": (CORES, 1),
                "max_batch_size": (16, 1, 32),
                "batch_wait_timeout_s": (0.0, 0.002),
                "own_thread": (True, False),
            },
        },
    ),
}
