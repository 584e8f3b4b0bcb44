"""Why a replica has ended, in words, and whether that speaks against what it runs: pure functions."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Final

_EARLY: Final = " before it was ready"
LONGEST: Final = 2000
"""Characters of the last lines that a reason quotes."""


class Ended(Exception):
    """The replica is to be over, and why. `failed` and `killed` as `Sight` has them.

    Then its last lines are quoted, unless the reason is `plain`, and they would add nothing to it.
    """

    def __init__(self, reason: str, *, failed: bool, killed: bool = False, plain: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failed = failed
        self.killed = killed
        self.quotes = failed and not plain


def exit_status(status: int, *, wrapped: bool) -> int:
    """A wait status as an exit status, negative for a signal; bubblewrap tells signals as 128 and more."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if wrapped and 128 < code < 128 + signal.NSIG else code


def by_itself(code: int, *, ready: bool, starved: bool) -> Ended:
    """The end of a process that nobody here has asked for. `starved`: the system was out of memory.

    A SIGKILL may be an operator's, or its own: nothing tells them apart. One that was ready is believed to
    have been well; one that never was is not, or it would be started again and again without a pause.
    """
    if code == -signal.SIGKILL and starved:
        return Ended("the system killed it, for this machine has run out of memory", failed=True)
    if code == -signal.SIGKILL and ready:
        return Ended("somebody killed it (SIGKILL)", failed=False)
    if code == -signal.SIGKILL:
        return Ended(f"it was killed (SIGKILL){_EARLY}", failed=True, killed=True)
    how = f"ended with status {code}" if code >= 0 else f"was ended by {_name(-code)}"
    return Ended(f"it {how}" if ready else f"it {how}{_EARLY}", failed=True)


def while_prepared(code: int, *, starved: bool) -> Ended:
    """The end of the job before a first start, without a word of its own."""
    ended = by_itself(code, ready=False, starved=starved)
    reason = ended.reason.removesuffix(_EARLY)
    return Ended(f"while it was prepared, {reason}", failed=True, killed=ended.killed)


def with_last_lines(reason: str, lines: Sequence[str]) -> str:
    """The reason and what was said last, the newest lines where not all find room."""
    room, quoted = LONGEST, []
    for line in reversed(lines):
        room -= len(line) + 5
        if room < 0:
            break
        quoted.append(f"    {line}")
    return reason if not quoted else "\n".join([f"{reason}; it said last:", *reversed(quoted)])


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
