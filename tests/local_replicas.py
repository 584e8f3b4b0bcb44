"""The platform `local` for tests: real keepers and real processes, driven step by step.

`SERVER` is a program that answers health and does what tests ask it to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from lanza.endpoints.platform import Instance, Order, Program, Sight
from lanza.endpoints.states import Phase
from lanza.platforms.local.isolation import Isolation, what_is_wrong
from lanza.platforms.local.platform import LocalPlatform

PATIENCE: Final = 60.0
MIB: Final = 2**20

SERVER: Final = r"""
import http.server, json, os, signal, socket, sys, threading, time, urllib.parse

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        status, body = 200, b"ok"
        if path == "/run":
            names = {}
            try:
                exec(urllib.parse.unquote(query), globals(), names)
                body = json.dumps(names.get("result")).encode()
            except Exception as error:
                status, body = 500, f"{type(error).__name__}: {error}".encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *what):
        pass

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *what: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""


def instance(**changes: Any) -> Instance:
    values: dict[str, Any] = {
        "vendor": "lanza",
        "region": "local",
        "accelerator": "cpu",
        "type": "cpu",
        "size": "x1",
        "architecture": "a test",
        "cpus": 0.5,
        "memory_bytes": 1024 * MIB,
    }
    return Instance(**{**values, **changes})


def program(source: str = SERVER, *, port: int = 0, health_route: str = "/health") -> Program:
    """Python source as a program; it finds its port in PORT, unless it has one of its own."""
    words = (sys.executable, "-u", "-c", source)
    return Program(words=words if port else (*words, "{port}"), port=port or 80, health_route=health_route)


class Machine:
    """A platform and the loop that it lives on."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        options = {"orphan_after": 30.0, "oversubscription": 20.0, **options}
        self.platform = LocalPlatform(data, **options)
        self._number = 0

    def order(self, **changes: Any) -> Order:
        self._number += 1
        values: dict[str, Any] = {
            "id": f"r{self._number}x{time.monotonic_ns() % 10**9}",
            "endpoint": "ana/prueba",
            "revision": 1,
            "instance": instance(),
            "start_timeout": PATIENCE,
        }
        return Order(**{**values, **changes})

    def start(self, **changes: Any) -> str:
        order = self.order(**changes)
        self.loop.run_until_complete(self.platform.start(order))
        return order.id

    def ready(self, **changes: Any) -> Sight:
        """Start one and wait until it is ready."""
        return self.until(self.start(**changes), Phase.READY)

    def sights(self) -> Mapping[str, Sight]:
        return self.loop.run_until_complete(self.platform.observe())

    def sight(self, replica: str) -> Sight:
        return self.sights()[replica]

    def until(self, replica: str, phase: Phase, *, patience: float = PATIENCE) -> Sight:
        """What is seen of it once it is in `phase`; an end that nobody waits for fails the test."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            sight = self.sight(replica)
            if sight.phase is phase:
                return sight
            assert sight.phase is not Phase.GONE, sight
            time.sleep(0.02)
        raise AssertionError(f"not {phase} within {patience} s: {self.sight(replica)}")

    def gone(self, replica: str, *, patience: float = PATIENCE) -> Sight:
        return self.until(replica, Phase.GONE, patience=patience)

    def stop(self, replica: str, *, drain: float = 5.0) -> Sight:
        self.loop.run_until_complete(self.platform.stop(replica, drain=drain))
        return self.gone(replica)

    def forget(self, replica: str) -> None:
        self.loop.run_until_complete(self.platform.forget(replica))

    def logs(self, replica: str, *, follow: bool = False) -> list[str]:
        async def read() -> list[str]:
            return [line async for line in self.platform.logs(replica, follow=follow)]

        return self.loop.run_until_complete(read())

    def folder(self, replica: str) -> Path:
        return self.platform._places.run / replica

    def close(self) -> None:
        self.loop.run_until_complete(self.platform.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def machine(data: Path, **options: Any) -> Iterator[Machine]:
    """A machine of which nothing is left afterwards: that, too, is looked at."""
    it = Machine(data, **options)
    try:
        yield it
    finally:
        replicas = list(it.sights())
        for replica in replicas:
            it.loop.run_until_complete(it.platform.stop(replica, drain=0))
        for replica in replicas:
            _wait_gone(it, replica)
            it.forget(replica)
        it.sights()
        it.close()
        assert not left_of(*replicas)


def _wait_gone(it: Machine, replica: str) -> None:
    until = time.monotonic() + PATIENCE
    while it.sight(replica).phase is not Phase.GONE and time.monotonic() < until:
        time.sleep(0.02)


def processes_of(*replicas: str) -> dict[int, str]:
    """Processes of this machine that bear the mark of one of these replicas, or keep one."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                marks = (process / "environ").read_bytes().split(b"\0")
                for replica in replicas:
                    if f"LANZA_REPLICA={replica}".encode() in marks or words.rstrip().endswith(
                        f"/run/{replica}"
                    ):
                        found[int(process.name)] = words
    return found


def left_of(*replicas: str, patience: float = 5.0) -> dict[int, str]:
    """What is left of replicas that have ended: nothing, once their keepers have ended too."""
    until = time.monotonic() + patience
    while (left := processes_of(*replicas)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def keeper_of(replica: str) -> int:
    [pid] = [pid for pid, words in processes_of(replica).items() if "lanza.platforms.local.keeper" in words]
    return pid


def ask(sight: Sight, path: str = "/", *, body: Any = None, patience: float = 30.0) -> tuple[int, bytes]:
    """One request over the replica's address: status and body."""
    assert sight.address is not None
    if sight.address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        target: Any = sight.address.removeprefix("unix:")
    else:
        connection = socket.socket()
        url = urllib.parse.urlsplit(sight.address)
        target = (url.hostname, url.port)
    connection.settimeout(patience)
    with connection:
        connection.connect(target)
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        )
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]


def run(sight: Sight, code: str) -> Any:
    """Run Python in a replica that is `SERVER`; what it leaves in `result`."""
    status, body = ask(sight, f"/run?{urllib.parse.quote(code)}")
    assert status == 200, body.decode()
    return json.loads(body)


def refuses(sight: Sight, code: str) -> str:
    """The error that Python code meets in a replica that is `SERVER`."""
    status, body = ask(sight, f"/run?{urllib.parse.quote(code)}")
    assert status == 500, f"it was allowed: {body.decode()}"
    return body.decode()


def available(kind: str) -> Isolation:
    """This isolation, if it works here."""
    tool = shutil.which("bwrap") if kind == "bubblewrap" else sys.executable
    if kind != "none" and (tool is None or what_is_wrong(kind, tool)):
        pytest.skip(f"{kind} does not work here")
    options = Isolation.probe().options if kind == "bubblewrap" else ()
    return Isolation(kind=kind, tool=tool or sys.executable, options=options, why="a test wants it so")


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
