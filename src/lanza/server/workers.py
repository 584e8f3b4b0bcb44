"""Several processes that serve together, and the one that starts them, and others when they die.

The model: the parent has the data folder's lock and the listening socket, and takes no requests itself. Each
worker accepts connections from the one socket, so none is lost with a worker that dies before it has accepted
it. A worker's channel that ends is a worker that has ended.
"""

from __future__ import annotations

import logging
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from lanza.errors import UsageError
from lanza.server.colleagues import LONGEST, READY
from lanza.server.folder import DataFolder
from lanza.server.metrics import forget_running
from lanza.server.settings import ServerSettings

log: Final = logging.getLogger("lanza.server")

PAUSE: Final = 1.0
"""Seconds before a worker that has ended is replaced."""
PATIENCE: Final = 10.0
"""Seconds that workers have to end, beside those for the last requests."""


@dataclass(kw_only=True)
class Worker:
    """A process, and the parent's end of its channel. Who follows it has the same `place`."""

    place: int
    process: subprocess.Popen[bytes]
    channel: socket.socket
    ready: bool = field(default=False)


def supervise(settings: ServerSettings, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Keep `settings.workers` processes until a signal. `ready` is called when the first takes requests.

    UsageError when one ends before any was ready.
    """
    with _signals() as stopped:
        crew = _Crew(settings, listener, stopped, ready)
        try:
            crew.run()
        finally:
            crew.end()


class _Crew:
    def __init__(
        self,
        settings: ServerSettings,
        listener: socket.socket,
        stopped: socket.socket,
        ready: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._ready = ready
        self._begun = False
        self._workers: list[Worker] = []
        self._missing = dict.fromkeys(range(settings.workers), 0.0)
        self._counters = DataFolder(path=settings.data).counters
        self._counters.mkdir(exist_ok=True)
        self._selector = selectors.DefaultSelector()
        self._selector.register(stopped, selectors.EVENT_READ, None)

    def run(self) -> None:
        while True:
            now = time.monotonic()
            for place in [it for it, due in self._missing.items() if due <= now]:
                del self._missing[place]
                self._start(place)
            timeout = min((due - now for due in self._missing.values()), default=None)
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    return
                self._hear(key.data)

    def end(self) -> None:
        """Have all end in peace, and those that do not, end."""
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + self._settings.drain + PATIENCE
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("the worker %d does not end, and is killed", worker.process.pid)
                worker.process.kill()
                worker.process.wait()
            worker.channel.close()
        self._selector.close()

    def _start(self, place: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            sockets = (self._listener.fileno(), theirs.fileno())
            process = subprocess.Popen(
                [sys.executable, "-m", "lanza.server.worker", *map(str, sockets), str(place)],
                stdin=subprocess.PIPE,
                pass_fds=sockets,
            )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(pickle.dumps(self._settings))
        worker = Worker(place=place, process=process, channel=ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _hear(self, worker: Worker) -> None:
        try:
            message = worker.channel.recv(LONGEST)
        except OSError:
            message = b""
        if not message:
            self._lost(worker)
        elif message == READY:
            worker.ready = True
            if not self._begun:
                self._begun = True
                self._ready()
        else:
            self._pass_on(worker, message)

    def _pass_on(self, sender: Worker, message: bytes) -> None:
        for worker in self._workers:
            if worker is not sender and worker.ready:
                try:
                    worker.channel.send(message, socket.MSG_DONTWAIT)
                except OSError as error:
                    log.info("the worker %d was not told: %s", worker.process.pid, error)

    def _lost(self, worker: Worker) -> None:
        self._selector.unregister(worker.channel)
        worker.channel.close()
        self._workers.remove(worker)
        code = worker.process.wait()
        if not self._begun:
            raise UsageError(f"a worker ended before it was ready ({code}): what it wrote above says why.")
        log.warning("the worker %d ended (%d): another takes its place", worker.process.pid, code)
        forget_running(self._counters, worker.place)
        self._missing[worker.place] = time.monotonic() + PAUSE


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that can be read once somebody wants the end."""
    reading, writing = socket.socketpair()

    def stop(number: int, frame: object) -> None:
        writing.send(b"x")

    with reading, writing:
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield reading
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
