"""What a server stands on fails: its disk, its database, its own processes. Its callers go on being served.

The disk is full for real, SQLite is locked by another process, PostgreSQL is Debian's and is stopped.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployed import NEIGHBOUR, Answer, Street, ask, keepers_below, street, wait_until, workers_of
from hubs import hub
from postgresql import Cluster, cluster

FULL = os.environ.get("LANZA_SOAK") == "1"
LOCKED = 40.0 if FULL else 6.0
AWAY = 60.0 if FULL else 7.0
ORPHANS = 60.0
WAKERS = 200

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]


def status_of(here: Street, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """What the control plane says: status and message."""
    answer = ask(here.server.url + path, here.user.token, body, method=method)
    return answer.status, "" if answer.status == 200 else json.loads(answer.text)["error"]


def requests_counted(here: Street) -> int:
    """Requests of the neighbour that the usage knows of."""
    return sum(it["requests"] for it in here.call("GET", f"/api/lanza/endpoints/ana/{NEIGHBOUR}/usage"))


# The disk


class Disk:
    """A small file system in memory, filled by a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb") as file:
            free = os.statvfs(self.path)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", path], capture_output=True)
    if made.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_on_a_full_disk_endpoints_go_on_and_writes_are_refused(disk: Disk, tmp_path: Path) -> None:
    with street(disk.path / "data", homes=tmp_path / "homes") as here:
        with here.neighbour() as neighbour:
            time.sleep(1)
            disk.fill()
            for method, path, body in (
                ("POST", "/v2/endpoint/ana", {"name": "new", "model": {"repository": "ana/programs"}}),
                ("PUT", f"/v2/endpoint/ana/{NEIGHBOUR}", {"deadline": 7}),
                ("POST", f"/v2/endpoint/ana/{NEIGHBOUR}/pause", None),
                ("POST", "/api/repos/create", {"name": "otro"}),
            ):
                code, said = status_of(here, method, path, body)
                assert (code, "disk is full" in said) == (507, True), (path, code, said)
            time.sleep(6)  # longer than a lease and a token's memory last
            assert here.status(NEIGHBOUR)["state"] == "running"
            disk.empty()
            here.deploy_odd("new")
            here.until("new", "running")
        answered = len(neighbour.answered)
        wait_until(lambda: requests_counted(here) == answered)
        print(f"\n{answered} answers while the disk was full and after, slowest {neighbour.slowest:.2f} s")


# SQLite


LOCK = """
import sqlite3, sys, time
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("PRAGMA busy_timeout = 30000")
other.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_a_locked_database_keeps_nobody_from_being_answered(tmp_path: Path) -> None:
    """Tokens that were not seen for long too; what is to be written waits, and nothing of it is lost."""
    with street(tmp_path / "data", homes=tmp_path / "homes") as here:
        eva = here.server.user("eva")
        database = here.server.data / "lanza.db"
        here.call("PUT", f"/v2/endpoint/ana/{NEIGHBOUR}", {"allowedTokens": ["eva"]})
        here.until(NEIGHBOUR, "running")
        eva_asked = 0
        with here.neighbour() as neighbour, ThreadPoolExecutor(40) as pool:
            words = [sys.executable, "-c", LOCK, str(database), str(LOCKED)]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
                assert other.stdout is not None
                assert other.stdout.readline() == "locked\n"
                began = time.monotonic()
                tree = {"name": "otro", "model": {"repository": "ana/no"}}
                waiting = [
                    pool.submit(status_of, here, "POST", "/api/repos/create", {"name": f"r{number}"})
                    for number in range(25)
                ]
                while time.monotonic() < began + LOCKED - 1.5:
                    answer = ask(here.url(NEIGHBOUR), eva.token)
                    eva_asked += 1
                    assert answer.status == 200, answer
                    assert answer.seconds < 5
                    time.sleep(1)
                assert status_of(here, "POST", "/v2/endpoint/ana", tree)[0] == 404  # reading goes on
            written = [it.result() for it in waiting]
        assert {code for code, _ in written} <= {200, 503}
        assert all("busy" in said for code, said in written if code == 503)
        here.deploy_odd("new")
        here.until("new", "running")
        answered = len(neighbour.answered) + eva_asked
        wait_until(lambda: requests_counted(here) == answered)
        print(f"\nlocked for {LOCKED:.0f} s: {answered} answers, slowest {neighbour.slowest:.2f} s, "
              f"{sum(code == 200 for code, _ in written)} of 25 writes waited and succeeded")  # fmt: skip


# PostgreSQL


@pytest.fixture
def postgres() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def test_a_database_that_is_gone_for_a_while_is_missed_by_nobody_who_is_known(
    postgres: Cluster, tmp_path: Path
) -> None:
    environment = (f"LANZA_DATABASE={postgres.url}",)
    with street(tmp_path / "data", homes=tmp_path / "homes", environment=environment) as here:
        eva = here.server.user("eva")
        before = here.replicas(NEIGHBOUR)
        with here.neighbour() as neighbour:
            time.sleep(1)
            postgres.stop()
            gone = time.monotonic()
            while time.monotonic() < gone + AWAY:
                unknown = ask(here.url(NEIGHBOUR), eva.token)
                assert (unknown.status, "database is busy or away" in unknown.text) == (503, True)
                code, said = status_of(here, "GET", f"/v2/endpoint/ana/{NEIGHBOUR}")
                assert (code, "database is busy or away" in said) == (503, True)
                time.sleep(1)
            postgres.start()
            wait_until(lambda: status_of(here, "GET", f"/v2/endpoint/ana/{NEIGHBOUR}")[0] == 200)
            assert here.replicas(NEIGHBOUR) == before
            here.deploy_odd("new")
            here.until("new", "running")
            assert ask(here.url(NEIGHBOUR), eva.token).status == 403
        answered = len(neighbour.answered)
        wait_until(lambda: requests_counted(here) == answered)
        assert "Traceback" not in "".join(here.server.said)
        print(f"\naway for {AWAY:.0f} s: {answered} answers, slowest {neighbour.slowest:.2f} s")


# Several workers


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A server of two processes, which the last test of these ends."""
    place = tmp_path_factory.mktemp("two")
    with street(place / "data", "--workers", "2", homes=place / "homes") as here:
        wait_until(lambda: len(workers_of(here.server)) == 2)
        yield here


def leader_of(here: Street) -> int:
    """The process that holds the lease."""
    with sqlite3.connect(here.server.data / "lanza.db") as database:
        rows = database.execute("SELECT holder FROM leases").fetchall()
    database.close()
    return int(rows[0][0].partition("-")[0]) if rows else 0


def test_many_that_wake_it_over_two_workers_start_one_replica(two: Street) -> None:
    two.deploy_odd("asleep", compute={"scaling": {"minReplica": 0}})
    two.until("asleep", "running")
    two.call("POST", "/v2/endpoint/ana/asleep/scale-to-zero")
    wait_until(lambda: two.status("asleep")["state"] == "scaledToZero" and not two.replicas("asleep"))
    barrier = threading.Barrier(WAKERS)

    def wake() -> Answer:
        barrier.wait()
        return two.ask("asleep")

    with two.neighbour(), ThreadPoolExecutor(WAKERS) as pool:
        answers = [it.result() for it in [pool.submit(wake) for _ in range(WAKERS)]]
    assert {it.status for it in answers} == {200}
    assert len({it.text for it in answers}) == 1  # the number of its process
    assert len(two.replicas("asleep")) == 1
    print(f"\n{WAKERS} woke it at once, the last answered after {max(it.seconds for it in answers):.2f} s")


def test_a_pause_holds_in_every_worker_within_a_second(two: Street) -> None:
    """Every request is a new connection, so both workers are asked."""
    two.deploy_odd("paused")
    two.until("paused", "running")
    with two.neighbour():
        assert {two.ask("paused").status for _ in range(20)} == {200}
        two.call("POST", "/v2/endpoint/ana/paused/pause")
        began = time.monotonic()
        answers = []
        while time.monotonic() < began + 3:
            answers.append((time.monotonic() - began, two.ask("paused").status))
    late = [moment for moment, status in answers if status == 200]
    assert all(moment < 1 for moment in late)
    assert {status for _, status in answers} <= {200, 503}
    print(f"\npaused everywhere after {max(late, default=0):.3f} s")


def test_workers_that_are_killed_are_replaced_and_one_looks_after_endpoints(two: Street) -> None:
    """Requests under way in the one that dies are lost, and no others."""
    before, clients = two.replicas(NEIGHBOUR), 8
    with two.neighbour(clients=clients, forgiving=True) as neighbour:
        for leading in (True, False):
            time.sleep(1)
            leader, workers = leader_of(two), workers_of(two.server)
            next(it for it in workers if (it.pid == leader) is leading).kill()
            wait_until(
                lambda workers=workers: (
                    len(workers_of(two.server)) == 2 and set(workers_of(two.server)) != set(workers)
                )
            )
            wait_until(lambda: leader_of(two) in {it.pid for it in workers_of(two.server)})
        two.deploy_odd("new")
        two.until("new", "running")
    assert (two.replicas(NEIGHBOUR), len(two.replicas("new"))) == (before, 1)
    wait_until(lambda: len(keepers_below(two.server.data)) == len(two.all_replicas()))
    assert len(neighbour.failures) <= 2 * clients
    assert {it.status for it in neighbour.failures} <= {0}
    print(f"\n2 workers killed: {len(neighbour.failures)} lost, {len(neighbour.answered)} answered")


def test_workers_end_with_their_parent_and_the_next_server_finds_all(two: Street, tmp_path: Path) -> None:
    before = two.replicas(NEIGHBOUR)
    workers = workers_of(two.server)
    two.server.process.kill()
    two.server.process.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []
    with hub(two.server.data, "--no-upstream", "--workers", "2", homes=tmp_path / "homes") as again:
        there = Street(server=again, user=replace(two.user, url=again.url))
        assert there.ask(NEIGHBOUR).status == 200
        assert there.replicas(NEIGHBOUR) == before
        assert again.stop() == 0


# No server any more


def test_of_a_server_that_is_killed_for_good_nothing_is_left(tmp_path: Path) -> None:
    """After about a minute. In the short form it is only seen that they count."""
    with street(tmp_path / "data", homes=tmp_path / "homes") as here:
        keepers = keepers_below(here.server.data)
        (ours,) = keepers
        family = [ours, *ours.children(recursive=True)]
        here.server.process.kill()
        here.server.process.wait()
        killed = time.monotonic()
        if not FULL:
            # What they wait for is seen in test_local_lives.py with a shorter wait; here, that nothing
            # else of the server is left than what the next one would find.
            assert left_of(here.server.data, family) == []
            ours.terminate()
        _, alive = psutil.wait_procs(family, timeout=ORPHANS + 15)
        assert alive == []
        assert left_of(here.server.data, []) == []
        print(f"\nnothing is left after {time.monotonic() - killed:.0f} s")


def left_of(data: Path, known: list[psutil.Process]) -> list[psutil.Process]:
    """Processes that have to do with a data folder, but for those that are known."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(data) in word for word in process.cmdline()) and process not in known:
                found.append(process)
    return found
