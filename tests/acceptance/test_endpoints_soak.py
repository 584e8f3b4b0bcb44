"""Endpoints under steady load while things die, change and grow: no request of a caller fails.

Real processes all the way: `lanza up`, its replicas, wrk. Short by default; `make soak` sets LANZA_SOAK=1 and
gets minutes of each.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hubs import Hub, User, hub
from loads import load
from serving import ROOT

FULL = os.environ.get("LANZA_SOAK") == "1"
SECONDS = 60 if FULL else 6
WAKERS = 200

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]

BECAS = ROOT / "examples" / "becas-qa"
OPTIONS = ("--no-upstream",)
QUESTION = json.loads((BECAS / "questions.json").read_text(encoding="utf-8"))[0]
BODY = {"inputs": {"question": QUESTION["question"], "context": QUESTION["context"]}}


@dataclass(frozen=True, kw_only=True)
class World:
    """A server with one user, whose model is pushed."""

    server: Hub
    user: User
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.server.url}/endpoints/ana/becas"

    def deploy(self, **scaling: Any) -> None:
        tree = {
            "name": "becas",
            "model": {"repository": "ana/becas"},
            "compute": {"scaling": {"maxReplica": 1, **scaling}},
        }
        self.call("POST", "/v2/endpoint/ana", tree)
        self.until(state="running")

    def update(self, **tree: Any) -> None:
        self.call("PUT", "/v2/endpoint/ana/becas", tree)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.server.call(method, path, body, token=self.user.token)

    def status(self) -> Any:
        return self.call("GET", "/v2/endpoint/ana/becas")["status"]

    def until(self, *, seconds: float = 90, **wanted: Any) -> None:
        """Wait until the status says all of this."""
        deadline = time.monotonic() + seconds
        while {key: (status := self.status()).get(key) for key in wanted} != wanted:
            assert status["state"] not in ("failed", "updateFailed"), status
            assert time.monotonic() < deadline, f"{wanted} never came: {status}"
            time.sleep(0.2)

    def replicas(self) -> list[psutil.Process]:
        return replicas_below(self.server.data)

    def load(self, clients: int = 32) -> Any:
        return load(self.url, token=self.user.token, body=BODY, folder=self.folder, clients=clients)


def replicas_below(data: Path) -> list[psutil.Process]:
    """The processes that serve a model of the server with this data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if "lanza.replica" in words and str(data) in " ".join(process.parent().cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
            continue
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with hub(tmp_path / "data", *OPTIONS, homes=tmp_path / "homes") as server:
        user = server.user("ana")
        user.api().create_repo("ana/becas")
        user.api().upload_folder(repo_id="ana/becas", folder_path=BECAS)
        yield World(server=server, user=user, folder=tmp_path)
        server.stop()
    assert replicas_below(tmp_path / "data") == []


def test_replicas_that_are_killed_cost_no_request(world: World) -> None:
    world.deploy(minReplica=2, maxReplica=2)
    world.until(readyReplica=2)
    killed = 0
    with world.load() as running:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            time.sleep(1)
            if alive := world.replicas():
                random.choice(alive).kill()
                killed += 1
    assert running.failures == {}
    assert running.result["answers"] > 100
    assert killed >= SECONDS / 2
    print(f"\n{killed} replicas killed, {running.result['answers']} answers, none failed")


def test_a_rolling_update_costs_no_request(world: World) -> None:
    world.deploy(minReplica=2, maxReplica=2)
    world.until(readyReplica=2)
    with world.load() as running:
        for number in range(1, 1 + (6 if FULL else 1)):
            world.update(model={"env": {"NUMBER": str(number)}})
            time.sleep(1)
            world.until(state="running", readyReplica=2, targetReplica=2)
            time.sleep(2)
    assert running.failures == {}
    revisions = world.call("GET", "/api/lanza/endpoints/ana/becas/revisions")
    assert len(revisions) == (7 if FULL else 2)
    assert revisions[0]["serving"]
    print(f"\n{len(revisions) - 1} updates, {running.result['answers']} answers, none failed")


def test_from_one_to_four_and_back_costs_no_request(world: World) -> None:
    world.deploy(minReplica=1, maxReplica=4, scaleDownAfter=1, measure={"pendingRequests": 6})
    with world.load() as running:
        world.until(readyReplica=4)
        time.sleep(SECONDS / 3)
        world.update(compute={"scaling": {"maxReplica": 1}})
        world.until(readyReplica=1, targetReplica=1)
        time.sleep(SECONDS / 3)
    assert running.failures == {}
    print(f"\n1 to 4 to 1, {running.result['answers']} answers, none failed")


def test_many_that_wake_it_at_once_start_one_replica(world: World) -> None:
    world.deploy(minReplica=0)
    world.call("POST", "/v2/endpoint/ana/becas/scale-to-zero")
    world.until(state="scaledToZero")
    before = started(world)
    assert len(before) == 1
    answers = Callers(world.url, world.user.token, clients=WAKERS)
    statuses = answers.once()
    assert statuses == [200] * WAKERS, answers.failures[:3]
    assert len(started(world) - before) == 1


def test_a_server_that_is_killed_comes_back_with_its_replicas(world: World, tmp_path: Path) -> None:
    """Requests under way at its death are lost, and no others; replicas go on, and are found again."""
    world.deploy(minReplica=2, maxReplica=2)
    world.until(readyReplica=2)
    port = int(world.server.url.rpartition(":")[2])
    before = {process.pid for process in world.replicas()}
    callers = Callers(world.url, world.user.token, clients=32)
    with callers.running():
        time.sleep(2)
        world.server.process.kill()
        world.server.process.wait()
        died = time.monotonic()
        with hub(tmp_path / "data", *OPTIONS, "--port", str(port), homes=tmp_path / "homes") as again:
            back = time.monotonic()
            time.sleep(SECONDS)
            callers.stop()
            assert {process.pid for process in replicas_below(tmp_path / "data")} == before
            again.stop()
    lost = [it for it in callers.failures if it.began < died]
    later = [it for it in callers.failures if it.began >= died and it.reached]
    assert len(lost) <= 32
    assert later == []
    assert callers.answers_after(back) > 10
    print(f"\nback in {back - died:.2f} s, {len(lost)} requests lost that were under way")


def test_a_thousand_endpoints_at_zero_weigh_little(tmp_path: Path) -> None:
    """Beside an empty server: less than 100 MB of memory, and no load that can be seen."""
    empty = weight(tmp_path / "empty", endpoints=0)
    full = weight(tmp_path / "full", endpoints=1000)
    memory, cpu = (full.memory - empty.memory) / 1e6, full.cpu - empty.cpu
    print(f"\n1,000 endpoints: {memory:+.1f} MB, {cpu:+.2f} s of CPU in {full.seconds:.0f} s")
    assert full.memory - empty.memory < 100e6
    assert full.cpu - empty.cpu < 0.05 * full.seconds


# What the tests above are made of


def started(world: World) -> set[str]:
    """The names of all replicas that were ever started: those that run, and those whose logs are kept."""
    data = world.server.data
    return {it.name.partition(".")[0] for folder in ("run", "ended") for it in (data / folder).rglob("*")
            if re.fullmatch(r"[0-9a-f]{16}", it.name.partition(".")[0])}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A request that got no 200. `reached`: somebody took its connection."""

    began: float
    reached: bool
    reason: str


class Callers:
    """Threads that ask one question again and again, each waiting for its answer."""

    def __init__(self, url: str, token: str, *, clients: int) -> None:
        self._request = lambda: urllib.request.Request(
            url,
            data=json.dumps(BODY).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        self._clients = clients
        self._stopped = threading.Event()
        self.failures: list[Failure] = []
        self._answered: list[float] = []

    def once(self) -> list[int]:
        """All of them at the same time, once. Their statuses."""
        barrier = threading.Barrier(self._clients)
        statuses: list[int] = []

        def ask() -> None:
            barrier.wait()
            statuses.append(self._ask())

        self._on_threads(ask)
        return statuses

    def running(self) -> Any:
        return _Running(self)

    def stop(self) -> None:
        self._stopped.set()

    def answers_after(self, moment: float) -> int:
        return sum(it > moment for it in self._answered)

    def loop(self) -> None:
        while not self._stopped.is_set():
            if self._ask() != 200:
                time.sleep(0.05)

    def _ask(self) -> int:
        began = time.monotonic()
        try:
            with urllib.request.urlopen(self._request(), timeout=90) as answer:
                answer.read()
                self._answered.append(time.monotonic())
                return int(answer.status)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            self.failures.append(Failure(began=began, reached=True, reason=f"{error.code} {said}"))
            return error.code
        except OSError as error:
            refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            self.failures.append(Failure(began=began, reached=not refused, reason=repr(error)))
            return 0

    def _on_threads(self, work: Any) -> None:
        threads = [threading.Thread(target=work) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @property
    def clients(self) -> int:
        return self._clients


class _Running:
    """The threads of `Callers.loop`, while a block lasts."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._threads: Sequence[threading.Thread] = ()

    def __enter__(self) -> None:
        self._threads = [threading.Thread(target=self._callers.loop) for _ in range(self._callers.clients)]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._callers.stop()
        for thread in self._threads:
            thread.join()


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Resident bytes, and seconds of CPU while nobody asks anything for `seconds`."""

    memory: int
    cpu: float
    seconds: float


FILL = """
import sys
from lanza.auth import accounts
from lanza.database import Database
from lanza.endpoints import store
from lanza.endpoints.platform import Instance
from lanza.endpoints.secrets import Vault
from lanza.endpoints.reading import read_spec
small = Instance(vendor="lanza", region="local", accelerator="cpu", type="cpu", size="x1", architecture="",
                 cpus=1, memory_bytes=2**30)
database = Database(f"sqlite:///{sys.argv[1]}/lanza.db")
with database.writing() as session:
    owner = accounts.get(session, "ana")
    for number in range(int(sys.argv[2])):
        spec = read_spec({"name": f"e{number}", "model": {"repository": "ana/becas"}})
        making = store.Making(spec=spec, instance=small, repo_id=None, commit="0" * 40, secrets={})
        store.scale_to_zero(session, store.create(session, Vault(b"k" * 32), owner, making, by="ana"))
"""


def weight(data: Path, *, endpoints: int) -> Weight:
    with hub(data, *OPTIONS) as server:
        user = server.user("ana")
        user.run(sys.executable, "-c", FILL, str(data), str(endpoints))
        server.stop()
    with hub(data, *OPTIONS) as server:
        process = psutil.Process(server.process.pid)
        server.call("GET", "/v2/endpoint/ana", token=user.token)
        time.sleep(3)
        begun, used = time.monotonic(), sum(process.cpu_times()[:2])
        time.sleep(SECONDS)
        spent = sum(process.cpu_times()[:2]) - used
        found = Weight(memory=process.memory_info().rss, cpu=spent, seconds=time.monotonic() - begun)
        assert server.stop(signal.SIGTERM) == 0
    return found
