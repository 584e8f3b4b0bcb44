"""Several processes of one server: one address, one that looks after endpoints, and dead ones replaced."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubs import Hub, hub


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "data", "--no-upstream", "--workers", "3", homes=tmp_path / "homes") as running:
        yield running


def workers_of(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(it) for it in listed if b"lanza.server.worker" in Path(f"/proc/{it}/cmdline").read_bytes()}


def until(what: Callable[[], bool]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 30 s")


def asks(server: Hub) -> bool:
    return bool(server.call("GET", "/api/whoami-v2")["name"] == "admin")


def counted(server: Hub, name: str) -> set[float]:
    """What `/metrics` says of it when it is asked again and again."""
    texts = [urllib.request.urlopen(f"{server.url}/metrics", timeout=30).read().decode() for _ in range(6)]
    return {float(line.split()[-1]) for text in texts for line in text.splitlines() if line.startswith(name)}


def test_workers_are_replaced_and_end_with_their_parent(many: Hub) -> None:
    until(lambda: len(workers_of(many.process.pid)) == 3)
    first = workers_of(many.process.pid)
    assert all(asks(many) for _ in range(12))
    name = 'lanza_request_seconds_count{method="GET",route="/api/whoami-v2"}'
    until(lambda: len(counted(many, name)) == 1)
    before = counted(many, name).pop()
    for number, pid in enumerate(first):
        # All tell the same, and what the dead have counted too. An answer is counted once it has been sent.
        until(lambda number=number: counted(many, name) == {before + 5 * number})  # type: ignore[misc]
        kill(pid)
        until(lambda pid=pid: pid not in workers_of(many.process.pid))  # type: ignore[misc]
        assert all(asks(many) for _ in range(5))
    until(lambda: len(workers_of(many.process.pid) - first) == 3)
    until(lambda: counted(many, name) == {before + 15})
    until(lambda: counted(many, "lanza_requests_running") == {1})  # the one that asks, and none of the dead
    assert many.stop() == 0


def test_workers_end_at_once_when_their_parent_is_killed(many: Hub) -> None:
    until(lambda: len(workers_of(many.process.pid)) == 3)
    left = workers_of(many.process.pid)
    many.process.kill()
    many.process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    with hub(many.data, "--no-upstream", "--workers", "2") as again:
        assert asks(again)


def test_an_endpoint_is_known_to_all(many: Hub) -> None:
    user = many.user("ana")
    user.api().create_repo("becas")
    tree = {"name": "qa", "model": {"repository": "ana/becas"}}
    many.call("POST", "/v2/endpoint/ana", tree, user.token)
    found = [many.call("GET", "/v2/endpoint/ana/qa", token=user.token)["name"] for _ in range(12)]
    assert found == ["qa"] * 12
    states = {"failed", "initializing", "pending"}
    until(
        lambda: (
            many.call("GET", "/v2/endpoint/ana/qa", token=user.token)["status"]["state"] in states
            and bool(many.call("GET", "/v2/endpoint/ana/qa", token=user.token)["status"]["message"])
        )
    )


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
