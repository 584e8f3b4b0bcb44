"""Where a replica listens: a Unix socket that is made here, or a port that is free."""

from __future__ import annotations

import random
import socket
from typing import Final

from lanza.platforms.local.keeper.ending import Ended

LOOPBACK: Final = "127.0.0.1"
PORTS: Final = range(20000, 32000)
"""Below those that the system gives to whoever connects."""


def listen(name: str) -> int:
    """A Unix socket in the present folder, for its path may be longer than an address can be."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(2048)
        return listener.detach()


def free_port() -> int:
    """A port that nobody listens on, unlike the last ones that were given."""
    for port in random.sample(PORTS, 200):
        if not _is_taken(port):
            return port
    raise Ended("no port is free on this machine", failed=True, plain=True)


def require_free(port: int) -> None:
    if _is_taken(port):
        raise Ended(
            f"port {port} is taken by another program: write {{port}} into the command to get a free one",
            failed=True,
            plain=True,
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False
