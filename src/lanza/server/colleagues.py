"""What the processes of one server tell each other, by way of the one that started them.

The model: each worker has a socket to its parent, and a message is the number of an endpoint that has
changed, or `LOOK`. The parent passes it on to all others. Nothing depends on a message: it only saves
waiting. A worker whose parent is gone ends at once, for the folder is then nobody's, and another server may
take it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from threading import Thread
from typing import Final

log: Final = logging.getLogger("lanza.server")

LOOK: Final = 0
"""No endpoint has this number: whoever looks after endpoints is to look."""
READY: Final = b"ready"
LONGEST: Final = 32


class Colleagues:
    """The other workers, as one of them sees them. `channel` leads to the parent."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def ready(self) -> None:
        """This worker takes requests."""
        self._send(READY)

    def tell(self, endpoint_id: int) -> None:
        """Have the others know. From any thread; returns at once."""
        self._send(b"%d" % endpoint_id)

    def listen(self, hear: Callable[[int], None]) -> None:
        """Call `hear` for what others tell, on a thread of its own, until the end."""
        Thread(target=self._listen, args=(hear,), name="colleagues", daemon=True).start()

    def _send(self, message: bytes) -> None:
        try:
            self._channel.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            log.info("the other workers are slow to listen: they see for themselves soon")
        except OSError:
            return  # the parent is gone, and so is this worker in a moment

    def _listen(self, hear: Callable[[int], None]) -> None:
        while message := self._receive():
            hear(int(message))
        os._exit(1)

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(LONGEST)
        except OSError:
            return b""
