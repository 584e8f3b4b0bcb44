"""How many bytes clients send: a proxy between them and the Hub that counts and changes nothing.

The model: every connection is passed on as it is, both ways, on threads. What is counted is what
clients have sent, with the heads of their requests. It takes time of its own, so nothing is timed through it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import Final

PIECE: Final = 2**18


class Counter:
    """Bytes that clients have sent since it was made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._bytes = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def take(self) -> int:
        """What has come since it was asked last."""
        with self._lock:
            taken, self._bytes = self._bytes, 0
        return taken


@contextmanager
def counting(url: str) -> Iterator[Counter]:
    """A proxy to the server at `url`, which has a URL of its own."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counter = Counter(f"http://127.0.0.1:{listener.getsockname()[1]}")
        Thread(target=_accept, args=(listener, (host, int(port)), counter), daemon=True).start()
        yield counter
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, server: tuple[str, int], counter: Counter) -> None:
    with suppress(OSError):  # the listener was closed: the run is over
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection(server)
            Thread(target=connect, args=(client, upstream, counter), daemon=True).start()


def connect(client: socket.socket, server: socket.socket, counter: Counter) -> None:
    """Pass on what both say, until both have said all; then close both."""
    with client, server:
        back = Thread(target=_pass_on, args=(server, client, None), daemon=True)
        back.start()
        _pass_on(client, server, counter)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket, counter: Counter | None) -> None:
    with suppress(OSError):  # one side has left
        while data := source.recv(PIECE):
            if counter is not None:
                counter.add(len(data))
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
