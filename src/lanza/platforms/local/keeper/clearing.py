"""The end of all processes that a replica has left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lanza.platforms.local.keeper import processes
from lanza.platforms.local.keeper.child import Child, reap

SECONDS: Final = 10.0
"""What the system may take to end what it was told to."""


def end_all_below(child: Child | None, *, wrapped: bool, wait_a_moment: Callable[[], None]) -> None:
    """Kill whatever is left below us, and wait until it is gone. `wrapped`: the child is bubblewrap."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        reap(child)
        left = [it for it in processes.below(os.getpid(), list(processes.all_in())) if not it.ended]
        if not left:
            break
        if wrapped and child is not None and child.status is None:
            left = [it for it in left if it.pid == child.pid]  # all in its namespace die with it
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        wait_a_moment()
    reap(child)
