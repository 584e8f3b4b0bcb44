"""Replicas and callers that misbehave, on a whole server: people are told why, and nobody else notices.

What the platform does with each kind of replica is seen in test_local_limits.py and test_local_isolation.py;
here it is what people get to know of it, and that a neighbour is asked all the while and never fails.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from deployed import Street, program, street, wait_until
from lanza.server.process import UNREAD, bind
from lanza.server.settings import ServerSettings

FULL = os.environ.get("LANZA_SOAK") == "1"
PRINTED_MIB = 4096 if FULL else 256
SLOW_READERS = 100 if FULL else 20

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]

HANDLER = """
import os, time

class EndpointHandler:
    def __init__(self, path):
        {at_start}

    def __call__(self, data):
        {when_called}
"""
READS = "return eval(data['inputs'], dict(os=os, Path=__import__('pathlib').Path))"


def handler(*, at_start: str = "pass", when_called: str = "return data") -> dict[str, str]:
    return {"handler.py": HANDLER.format(at_start=at_start, when_called=when_called)}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    place = tmp_path_factory.mktemp("faults")
    with street(place / "data", homes=place / "homes") as made:
        yield made


@pytest.fixture(scope="module")
def odd(here: Street) -> str:
    """An endpoint that misbehaves on demand, and does not wait long."""
    here.deploy_odd("odd", deadline=2)
    here.until("odd", "running")
    return "odd"


def said(text: str) -> str:
    """The message of an error."""
    found: str = json.loads(text)["error"]
    return found


# Starts that fail


def test_what_does_not_start_is_failed_with_its_cause_everywhere(here: Street) -> None:
    """In the API, in `lanza show` and `lanza logs`, by webhook, and to who calls it."""
    here.push("raises", {"handler.py": "raise RuntimeError('no such weights')\n"})
    here.push("sleeps", handler(at_start="time.sleep(10**6)"))
    ends = program("print('the weights are in another castle'); raise SystemExit(7)")
    causes = {
        "raises": "RuntimeError: no such weights",
        "sleeps": "it was not ready within 1 s",
        "ends": "another castle",
    }
    with Webhooks() as hooks, here.neighbour():
        here.deploy("raises", webhook=hooks.url)
        here.deploy("sleeps", webhook=hooks.url, startTimeout=1)
        here.deploy("ends", webhook=hooks.url, model=ends)
        for name, cause in causes.items():
            status = here.until(name, "failed")
            assert cause in status["message"]
            assert "url" not in status
            answer = here.ask(name, body={"inputs": "hola"})
            assert answer.status == 503
            assert f"ana/{name} has failed" in said(answer.text)
            assert cause in said(answer.text)
            assert cause in shown(here.lanza("show", f"ana/{name}"))
            assert cause in here.lanza("logs", f"ana/{name}")
            notice = wait_until(lambda name=name: hooks.of(f"ana/{name}"))
            assert notice["event"] == "endpoint.failed"
            assert cause in notice["message"]
            here.remove(name)


def shown(text: str) -> str:
    """What a command printed, however it broke its lines."""
    return " ".join(text.split())


# While it runs


def test_a_handler_that_exits_at_a_request_costs_that_request(here: Street) -> None:
    exits = "if data['inputs'] == 'die': os._exit(9)\n        return data"
    here.push("mortal", handler(when_called=exits))
    here.deploy("mortal", deadline=4)
    here.until("mortal", "running")
    with here.neighbour():
        assert here.ask("mortal", body={"inputs": "hola"}).status == 200
        answer = here.ask("mortal", body={"inputs": "die"})
        assert answer.status == 503
        assert "status 9" in said(answer.text)
        assert answer.seconds < 10
        assert here.ask("mortal", body={"inputs": "hola"}).status == 200
        assert here.status("mortal")["state"] == "running"
    here.remove("mortal")


def test_requests_that_end_their_replicas_fail_no_endpoint(here: Street) -> None:
    """Each is tried on three at most; what is well is asked again after a pause, and people are told."""
    here.deploy_odd(
        "fragile", type="public", deadline=30, compute={"scaling": {"minReplica": 2, "maxReplica": 2}}
    )
    wait_until(lambda: here.status("fragile")["readyReplica"] == 2)
    first = set(here.replicas("fragile"))
    poison = f"/dies?by={int(signal.SIGSEGV)}"
    with here.neighbour():
        answer = here.ask("fragile", poison)
        assert (answer.status, "3 replicas of ana/fragile ended over this" in said(answer.text)) == (
            500,
            True,
        )
        assert here.ask("fragile").status == 200
        assert here.ask("fragile", poison, patience=1).status == 0  # who asks leaves before the next try
        wait_until(lambda: re.search("replicas ended [45] times in", here.status("fragile")["message"]))
        assert "while it answered: it was ended by SIGSEGV" in here.status("fragile")["message"]
        assert here.ask("fragile").status == 200
        assert here.status("fragile")["state"] == "running"
    assert not first & set(here.replicas("fragile"))
    here.remove("fragile")


def test_what_kills_itself_before_it_is_ready_is_started_again_after_pauses(here: Street) -> None:
    here.deploy("suicidal", model=program("import os; print('goodbye'); os.kill(os.getpid(), 9)"))
    with here.neighbour():
        wait_until(
            lambda: "before it was ready; it said last:\n    goodbye" in here.status("suicidal")["message"]
        )
        time.sleep(4)
    ended = [it for it in (here.server.data / "ended").rglob("*.log") if "suicidal" in str(it)]
    assert 1 < len(ended) < 5  # of those begun at once, one after another, the last five would be there
    here.remove("suicidal")


def test_printing_is_bounded(here: Street, odd: str) -> None:
    server = psutil.Process(here.server.process.pid)
    before = server.memory_info().rss
    with here.neighbour() as neighbour:
        assert here.ask(odd, f"/prints?mib={PRINTED_MIB}").status == 200
        logs = f"/api/lanza/endpoints/ana/{odd}/logs"
        wait_until(lambda: "that was all" in here.text(logs), seconds=600)
        assert "more lines were printed within a second" in here.text(logs)
    kept = sum(it.stat().st_size for it in here.server.data.glob("run/*/log*"))
    assert kept < 8 * 2**20
    assert server.memory_info().rss - before < 50 * 2**20
    print(f"\n{PRINTED_MIB} MiB printed: {kept / 2**20:.1f} MiB kept, neighbour {neighbour.slowest:.2f} s")


@pytest.mark.parametrize(
    ("path", "cause"),
    [("/forks", "processes and threads, and at most"), ("/eats?mib=2600", "of memory, and cpu-x1 has")],
    ids=["forks", "eats memory"],
)
def test_one_that_takes_too_much_is_ended_and_replaced(here: Street, odd: str, path: str, cause: str) -> None:
    here.until(odd, "running")
    (before,) = here.replicas(odd)
    with here.neighbour():
        here.ask(odd, path, patience=90)
        wait_until(lambda: before not in here.replicas(odd))
        assert cause in here.lanza("logs", f"ana/{odd}", "--replica", before)
        here.until(odd, "running")
        assert here.ask(odd).status == 200


def test_a_handler_reads_nothing_of_others(here: Street) -> None:
    secret = "un secreto de otros"
    here.push("other", {"secret.txt": secret, "handler.py": handler()["handler.py"]})
    here.deploy("other", model={"secrets": {"TOKEN": secret}})
    here.push("spy", handler(when_called=READS))
    here.deploy("spy")
    for name in ("other", "spy"):
        here.until(name, "running")
    data = here.server.data
    (theirs,) = data.glob("models/*/*/secret.txt")
    places = [data / "admin.token", data / "lanza.db", theirs, *data.glob("*key*")]
    with here.neighbour():
        for place in places:
            code = f"[str(it) for it in Path({str(place)!r}).iterdir()] or Path({str(place)!r}).read_bytes()"
            answer = here.ask("spy", body={"inputs": code})
            assert answer.status >= 400, (place, answer)
            assert "No such file" in answer.text or "Permission denied" in answer.text
        listed = here.ask("spy", body={"inputs": f"os.listdir({str(data / 'homes')!r})"})
        assert json.loads(listed.text) == ["ana%2Fspy"]
        environments = "[it.read_bytes().decode() for it in Path('/proc').glob('[0-9]*/environ')]"
        seen = here.ask("spy", body={"inputs": environments})
        assert seen.status == 200
        assert secret not in seen.text
        assert here.server.root not in seen.text
        assert "LANZA_REPLICA" in seen.text
    for name in ("other", "spy"):
        here.remove(name)


# Answers that are none


def test_a_replica_that_hangs_meets_its_deadline(here: Street, odd: str) -> None:
    with here.neighbour():
        answer = here.ask(odd, "/hang")
        assert answer.status == 504
        assert "did not answer within 2 s" in said(answer.text)
        assert 1.9 < answer.seconds < 6
        assert here.ask(odd).status == 200


@pytest.mark.parametrize("path", ["/garbage", "/half"])
def test_an_answer_that_is_none_is_an_error_that_says_so(here: Street, odd: str, path: str) -> None:
    with here.neighbour():
        answer = here.ask(odd, path)
        assert answer.status in (500, 503, 504)
        assert "ana/odd" in said(answer.text)
        assert here.ask(odd).status == 200
        assert here.status(odd)["state"] == "running"


# Callers that stop reading


@pytest.mark.parametrize("path", ["/large?mib=64", "/events"])
def test_callers_that_stop_reading_cost_little(here: Street, odd: str, path: str) -> None:
    server = psutil.Process(here.server.process.pid)
    before = server.memory_info().rss
    with here.neighbour() as neighbour:
        readers = [silent_reader(here, odd, path) for _ in range(SLOW_READERS)]
        time.sleep(2)
        grown = server.memory_info().rss - before
        assert here.ask(odd).status == 200
        for reader in readers:
            reader.close()
    print(f"\n{SLOW_READERS} silent readers: {grown / 2**20:.0f} MiB, neighbour {neighbour.slowest:.2f} s")
    assert grown < SLOW_READERS * 4 * 2**20
    wait_until(lambda: here.ask(odd).status == 200)


def test_a_connection_whose_client_never_reads_ends(tmp_path: Path) -> None:
    """The kernel ends it; here, that connections are told to, and with a short time that it does."""
    with bind(ServerSettings(data=tmp_path, port=0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as ours:
            option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert ours.getsockopt(*option) == 1000 * UNREAD
            ours.setsockopt(*option, 500)
            ours.settimeout(30)
            with pytest.raises(OSError, match="Connection timed out"):
                ours.sendall(bytes(2**26))


def silent_reader(here: Street, name: str, path: str) -> socket.socket:
    """A client that asks, reads the beginning of the answer, and no more."""
    url = urlsplit(here.url(name, path))
    reader = socket.create_connection((url.hostname, url.port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    shown = f"Host: x\r\nAuthorization: Bearer {here.user.token}"
    reader.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\n{shown}\r\n\r\n".encode())
    reader.settimeout(30)
    assert reader.recv(15) == b"HTTP/1.1 200 OK"
    return reader


class Webhooks:
    """Takes notices, while a block lasts."""

    def __init__(self) -> None:
        got: list[Any] = []

        class Taker(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *what: Any) -> None:
                pass

        self._got = got
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def of(self, endpoint: str) -> Any:
        return next((it for it in self._got if it["endpoint"] == endpoint), None)

    def __enter__(self) -> Webhooks:
        threading.Thread(target=self._server.serve_forever).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
