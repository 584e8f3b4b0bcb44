"""A server as people start it, with endpoints that do what tests ask of them, and a neighbour among them.

`ODD` is a program that answers well, hangs, talks garbage, floods or dies, by the path that it is asked for.
The neighbour is an endpoint on the same server, asked all the time, that no fault of others may touch.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from hubs import Hub, User, hub

PATIENCE: Final = 90.0
NEIGHBOUR: Final = "steady"

ODD: Final = r"""
import http.server, os, signal, sys, threading, time, urllib.parse

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        getattr(self, path.strip("/") or "well", self.well)(dict(urllib.parse.parse_qsl(query)))

    do_POST = do_GET

    def well(self, given):
        time.sleep(float(given.get("wait", 0)))
        self.say(b'{"pid": %d}' % os.getpid())

    def say(self, body, length=None, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang(self, given):
        time.sleep(3600)

    def garbage(self, given):
        self.wfile.write(b"\x00\x01 these are no words of HTTP \xff\r\n\r\n")
        self.close_connection = True

    def half(self, given):
        self.say(b"[1, 2,", length=100)
        self.wfile.flush()
        self.connection.close()

    def large(self, given):
        self.say(b"", length=int(given["mib"]) * 2**20, kind="application/octet-stream")
        for _ in range(int(given["mib"])):
            self.wfile.write(bytes(2**20))

    def events(self, given):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        while True:
            self.wfile.write(b"data: " + b"x" * 65536 + b"\n\n")

    def dies(self, given):
        os.kill(os.getpid(), int(given["by"]))

    def prints(self, given):
        def go():
            for _ in range(int(given["mib"]) * 1024):
                os.write(1, b"x" * 1023 + b"\n")
            time.sleep(1.1)
            print("that was all")
        threading.Thread(target=go).start()
        self.say(b"{}")

    def forks(self, given):
        def go():
            while True:
                if os.fork() == 0:
                    time.sleep(600)
        threading.Thread(target=go).start()
        self.say(b"{}")

    def eats(self, given):
        self.server.eaten = bytearray(int(given["mib"]) * 2**20)
        for i in range(0, len(self.server.eaten), 4096):
            self.server.eaten[i] = 1
        self.say(b"{}")

    def log_message(self, *what):
        pass

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *what: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; status 0 is none, with the reason as its text."""

    status: int
    text: str
    seconds: float


def ask(
    url: str, token: str, body: Any = None, *, method: str | None = None, patience: float = 60.0
) -> Answer:
    """One request, with no other try."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    began = time.monotonic()
    try:
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=patience) as answer:
            status, text = answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    except OSError as error:
        status, text = 0, repr(error)
    return Answer(status=status, text=text, seconds=time.monotonic() - began)


def wait_until(holds: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """What `holds` gives, once that is something."""
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)
    return found


@dataclass(frozen=True, kw_only=True)
class Street:
    """A server, ana who lives there, and her endpoints."""

    server: Hub
    user: User

    def url(self, name: str, path: str = "") -> str:
        return f"{self.server.url}/endpoints/ana/{name}{path}"

    def ask(self, name: str, path: str = "", body: Any = None, *, patience: float = 60.0) -> Answer:
        return ask(self.url(name, path), self.user.token, body, patience=patience)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.server.call(method, path, body, token=self.user.token)

    def text(self, path: str) -> str:
        """What stands at an address of the control plane."""
        return ask(self.server.url + path, self.user.token).text

    def push(self, name: str, files: Mapping[str, str]) -> None:
        """A repository with these files."""
        from huggingface_hub import CommitOperationAdd

        api = self.user.api()
        api.create_repo(f"ana/{name}")
        adds = [CommitOperationAdd(path, text.encode()) for path, text in files.items()]
        api.create_commit(f"ana/{name}", operations=adds, commit_message="what a test wants")

    def deploy(self, name: str, *, model: Mapping[str, Any] | None = None, **more: Any) -> None:
        """An endpoint for the repository of its name; `model` may say another, or a program."""
        tree = {
            "name": name,
            "model": {"repository": f"ana/{name}", **(model or {})},
            "compute": {"scaling": {"minReplica": 1}},
            **more,
        }
        self.call("POST", "/v2/endpoint/ana", tree)

    def deploy_odd(self, name: str, **more: Any) -> None:
        """An endpoint that runs `ODD`; its repository is everybody's."""
        self.deploy(name, model=program(ODD), **more)

    def remove(self, name: str) -> None:
        """Have its place for the next."""
        self.call("DELETE", f"/v2/endpoint/ana/{name}")

    def status(self, name: str) -> Any:
        return self.call("GET", f"/v2/endpoint/ana/{name}")["status"]

    def until(self, name: str, state: str, *, seconds: float = PATIENCE) -> Any:
        """The status, once the state is this."""
        until = time.monotonic() + seconds
        while (status := self.status(name))["state"] != state:
            assert time.monotonic() < until, f"{name} never was {state}: {status}"
            time.sleep(0.1)
        return status

    def lanza(self, *words: str) -> str:
        """What a command says to ana."""
        done = self.user.run(sys.executable, "-m", "lanza", *words, "--server", self.server.url)
        return done.stdout

    def replicas(self, name: str) -> list[str]:
        return [it["id"] for it in self.call("GET", f"/api/lanza/endpoints/ana/{name}/replicas")]

    def all_replicas(self) -> list[str]:
        names = [it["name"] for it in self.call("GET", "/v2/endpoint/ana")["items"]]
        return [replica for name in names for replica in self.replicas(name)]

    def neighbour(self, *, clients: int = 2, forgiving: bool = False) -> Neighbour:
        return Neighbour(self, clients=clients, forgiving=forgiving)


def program(source: str) -> dict[str, Any]:
    """A model that is Python source, run as a program of its own."""
    return {
        "repository": "ana/programs",
        "image": {"custom": {"port": 80, "healthRoute": "/health"}},
        "command": [sys.executable, "-u", "-c", source, "{port}"],
    }


class Neighbour:
    """The endpoint `steady`, asked by threads again and again while a block lasts; none may fail,
    unless it is `forgiving`.

    `answered` are the moments of answers, `slowest` the seconds of the worst.
    """

    def __init__(self, street: Street, *, clients: int, forgiving: bool) -> None:
        self.street, self.clients, self._forgiving = street, clients, forgiving
        self.failures: list[Answer] = []
        self.answered: list[float] = []
        self.slowest = 0.0
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Neighbour:
        self._threads = [threading.Thread(target=self._ask) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert self._forgiving or self.failures == []
            assert len(self.answered) >= self.clients

    def _ask(self) -> None:
        while not self._stopped.is_set():
            answer = self.street.ask(NEIGHBOUR)
            if answer.status == 200:
                self.answered.append(time.monotonic())
                self.slowest = max(self.slowest, answer.seconds)
            else:
                self.failures.append(answer)
            self._stopped.wait(0.03)


@contextmanager
def street(data: Path, *options: str, environment: tuple[str, ...] = (), homes: Path) -> Iterator[Street]:
    """A server with ana and her neighbour. No replica is left of it when the block ends in peace."""
    allowed = ("--no-upstream", "--allow-command", sys.executable, "--webhooks-to", "127.0.0.0/8")
    with hub(data, *allowed, *options, environment=environment, homes=homes) as server:
        here = Street(server=server, user=server.user("ana"))
        here.push("programs", {"programs.txt": "of tests"})
        here.deploy_odd(NEIGHBOUR)
        here.until(NEIGHBOUR, "running")
        yield here
        if server.process.poll() is None:
            server.stop()
    assert keepers_below(data) == []


def keepers_below(data: Path) -> list[psutil.Process]:
    """The processes that keep replicas of the server with this data folder."""
    return _running(lambda words: "lanza.platforms.local.keeper" in words and str(data) in words[-1])


def workers_of(server: Hub) -> list[psutil.Process]:
    """The processes that take its requests, if they are several."""
    children = {it.pid for it in psutil.Process(server.process.pid).children()}
    return [it for it in _running(lambda words: "lanza.server.worker" in words) if it.pid in children]


def _running(wanted: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # one that has ended, too
            if (words := process.cmdline()) and wanted(words):
                found.append(process)
    return found
