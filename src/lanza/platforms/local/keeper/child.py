"""A process that the keeper starts: its outputs as pipes, its end as a status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

LISTENER = 3
"""The number under which a replica finds the socket that it is to listen on."""


class Child:
    """`output` is what it says; `answers`, where asked for, its standard output by itself.

    `status` is its wait status, once it was reaped.
    """

    def __init__(self, pid: int, output: int, answers: int | None) -> None:
        self.pid = pid
        self.output: int | None = output
        self.answers = answers
        self.status: int | None = None

    def close(self) -> None:
        for number in (self.output, self.answers):
            if number is not None:
                os.close(number)
        self.output = self.answers = None


def spawn(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: bytes = b"",
    answers: bool = False,
    listener: int | None = None,
) -> Child:
    """Start it in a session of its own. OSError when the program cannot be run."""
    feed = os.memfd_create("stdin", os.MFD_CLOEXEC)
    output, said = os.pipe()
    answer, told = os.pipe() if answers else (None, os.dup(said))
    try:
        os.write(feed, stdin)
        os.lseek(feed, 0, os.SEEK_SET)
        actions: list[tuple[int, int, int]] = [
            (os.POSIX_SPAWN_DUP2, feed, 0),
            (os.POSIX_SPAWN_DUP2, told, 1),
            (os.POSIX_SPAWN_DUP2, said, 2),
        ]
        if listener is not None:
            actions.append((os.POSIX_SPAWN_DUP2, listener, LISTENER))
        pid = os.posix_spawn(words[0], list(words), dict(environment), file_actions=actions, setsid=True)
    except OSError:
        for number in (output, answer):
            if number is not None:
                os.close(number)
        raise
    finally:
        for number in (feed, said, told):
            os.close(number)
    os.set_blocking(output, False)
    if answer is not None:
        os.set_blocking(answer, False)
    return Child(pid, output, answer)


def reap(child: Child | None) -> None:
    """Take the status of all that have ended: the child's, and those of processes that were left to us."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if child is not None and pid == child.pid:
                child.status = status


def read(number: int) -> bytes | None:
    """What is there to be read; None at the end, empty when there is nothing now."""
    try:
        return os.read(number, 65536) or None
    except BlockingIOError:
        return b""
