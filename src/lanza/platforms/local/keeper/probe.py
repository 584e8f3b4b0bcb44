"""GET the health route, without ever waiting; and what the answers of a while say together.

The model: a replica is starting until the first 200; then `MOST_FAILURES` looks in a row that bring no 200
make it unhealthy. A look is one connection, driven by whoever waits for the socket.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

EVERY_STARTING: Final = 0.05
EVERY: Final = 2.0
PATIENCE: Final = 5.0
MOST_FAILURES: Final = 3
_LARGEST_HEAD: Final = 4096


class Look:
    """One look. `outcome` is None while it goes on, empty after a 200, else what was wrong."""

    def __init__(self, address: str | tuple[str, int], route: str, *, now: float) -> None:
        host = "localhost" if isinstance(address, str) else f"{address[0]}:{address[1]}"
        self._request = (
            f"GET {route} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lanza\r\nConnection: close\r\n\r\n".encode()
        )
        self._head = b""
        self._connected = False
        self.deadline = now + PATIENCE
        self.outcome: str | None = None
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.setblocking(False)
        code = self.socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS, errno.EAGAIN):
            self._end(_why(code))
        elif code == errno.EAGAIN:  # a Unix socket whose line is full
            self._end("nobody takes connections")

    @property
    def writes(self) -> bool:
        """Whether it waits to write."""
        return bool(self._request)

    def go_on(self, now: float) -> None:
        """Do what can be done now."""
        if self.outcome is not None:
            return
        if now >= self.deadline:
            self._end(f"no answer came within {PATIENCE:g} s")
            return
        try:
            self._step()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(_why(error.errno or 0))

    def _step(self) -> None:
        if not self._connected:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._end(_why(code))
                return
            self._connected = True
        if self._request:
            self._request = self._request[self.socket.send(self._request) :]
            return
        data = self.socket.recv(_LARGEST_HEAD)
        self._head += data
        if b"\n" in self._head or not data or len(self._head) >= _LARGEST_HEAD:
            self._end(judge(self._head))

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def judge(head: bytes) -> str:
    """What is wrong with the beginning of an answer; empty for a 200."""
    if not head:
        return "the connection was closed without an answer"
    words = head.split(b"\n", 1)[0].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return "what answered does not speak HTTP"
    status = int(words[1])
    return "" if status == 200 else f"the answer was {status}"


def _why(code: int) -> str:
    return (
        "nobody listens there"
        if code in (errno.ECONNREFUSED, errno.ENOENT)
        else errno.errorcode.get(code, str(code))
    )


class Health:
    """What looks have brought so far. `last` is what was wrong at the latest one that failed."""

    def __init__(self) -> None:
        self.ready = False
        self.failures = 0
        self.last = "it was not asked yet"

    def learn(self, outcome: str) -> bool:
        """Take a look's outcome. Whether it has just become ready."""
        if outcome:
            self.last = outcome
            self.failures += 1
            return False
        self.failures = 0
        became, self.ready = not self.ready, True
        return became

    @property
    def unhealthy(self) -> bool:
        return self.ready and self.failures >= MOST_FAILURES

    @property
    def pause(self) -> float:
        return EVERY if self.ready and not self.failures else EVERY_STARTING if not self.ready else EVERY / 2


class Watch:
    """Looks at one address again and again: the socket and the time to wait for, and what comes of it."""

    def __init__(self, address: str | tuple[str, int], route: str, *, now: float) -> None:
        self._address, self._route = address, route
        self._look: Look | None = None
        self._next = now
        self.health = Health()

    @property
    def reads(self) -> list[int]:
        return [self._look.socket.fileno()] if self._look is not None and not self._look.writes else []

    @property
    def writes(self) -> list[int]:
        return [self._look.socket.fileno()] if self._look is not None and self._look.writes else []

    @property
    def due(self) -> float:
        return self._next if self._look is None else self._look.deadline

    def go_on(self, now: float) -> bool:
        """Begin a look, or go on with it. Whether the replica has just become ready."""
        if self._look is None:
            if now < self._next:
                return False
            self._look = Look(self._address, self._route, now=now)
        self._look.go_on(now)
        if self._look.outcome is None:
            return False
        became = self.health.learn(self._look.outcome)
        self._look = None
        self._next = now + self.health.pause
        return became
