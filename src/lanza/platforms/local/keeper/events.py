"""What the keeper waits for: pipes that may be read, a look at health, children that end, the clock.

One thread, no callbacks: `wait` returns when something is there or `timeout` is over.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable


class Signals:
    """Wakes `wait` when a child ends; remembers that the keeper itself was asked to end."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.asked_to_end = False
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked_to_end = True

    def clear(self) -> None:
        try:
            while os.read(self.reader, 4096):
                pass
        except BlockingIOError:
            return


def wait(readers: Iterable[int], writers: Iterable[int], timeout: float) -> set[int]:
    """The numbers of those that can be used now."""
    poll = select.poll()
    for number in readers:
        poll.register(number, select.POLLIN)
    for number in writers:
        poll.register(number, select.POLLOUT)
    return {number for number, _ in poll.poll(max(0.0, timeout) * 1000)}
