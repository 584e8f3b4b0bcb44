"""What a run tells of itself while it goes on, to stderr; and whether it may begin at all."""

from __future__ import annotations

import sys

import machine


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def may_begin(*, force: bool) -> bool:
    """Whether the machine is quiet, or that does not matter; what is wrong is said."""
    found = machine.load_average()
    if found <= machine.QUIET:
        return True
    say(f"THIS MACHINE IS BUSY: its load average is {found:.2f}, and a run wants {machine.QUIET} at most.")
    say("Going on: the figures will be wrong." if force else "Try again when it is quiet, or use --force.")
    return force
