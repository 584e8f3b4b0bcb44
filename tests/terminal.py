"""A terminal that a test reads and types into, for programs that ask what only people answer.

The program has the terminal for its own (it is the controlling one), so that prompts for secrets, menus and
shells behave as they do for people. `setsid` of util-linux sees to that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class Terminal:
    """`command`, running. Leaving the context ends it."""

    def __init__(self, *command: str, cwd: Path, env: Mapping[str, str]) -> None:
        self._screen, inside = os.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        try:
            self._process = subprocess.Popen(
                ["setsid", "--ctty", *command],
                cwd=cwd,
                env={"TERM": "xterm", **env},
                stdin=inside,
                stdout=inside,
                stderr=inside,
            )
        finally:
            os.close(inside)
        self._shown = b""
        self._seen = 0

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def expect(self, wanted: str, *, seconds: float = 90) -> str:
        """Wait until `wanted` is shown; gives what came since the last such moment, `wanted` included."""
        deadline = time.monotonic() + seconds
        while (at := self.text.find(wanted, self._seen)) < 0:
            assert self._read(deadline), f"{wanted!r} was never shown, but:\n{self.text}"
        end = at + len(wanted)
        new, self._seen = self.text[self._seen : end], end
        return new

    def expect_menu(self, wanted: str, *, seconds: float = 90) -> None:
        """Wait for `wanted`, and then for the program to take single keys: what is typed before is lost."""
        self.expect(wanted, seconds=seconds)
        deadline = time.monotonic() + seconds
        while termios.tcgetattr(self._screen)[3] & termios.ICANON:
            assert time.monotonic() < deadline, self.text
            self._read(time.monotonic() + 0.02)

    def type(self, keys: str) -> None:
        """Press keys; `\\r` is the one that ends a line."""
        os.write(self._screen, keys.encode())

    def enter(self, line: str) -> None:
        self.type(line + "\r")

    def end(self, *, seconds: float = 90) -> int:
        """Wait for the program to end; gives its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self._process.wait(max(0.0, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        """Whether something more was shown. Otherwise this is the end, or the time is up."""
        ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            more = os.read(self._screen, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that nobody has the terminal any more
                raise
            return False
        self._shown += more
        return bool(more)
