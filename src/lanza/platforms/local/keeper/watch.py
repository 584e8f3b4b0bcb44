"""What a keeper watches besides health: its replica's use of the machine, and whether anybody wants it.

Each `look` either returns or raises `Ended`, with the figures.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from lanza.platforms.local.instructions import BUBBLEWRAP, Instructions
from lanza.platforms.local.keeper.ending import Ended, size
from lanza.platforms.local.keeper.processes import Process, all_in, below, exact_memory, used
from lanza.platforms.local.layout import RunFolder, is_locked

LOOK_EVERY: Final = 0.25
"""Seconds: what can be taken meanwhile is over the limit for as long."""
SERVER_EVERY: Final = 2.0


class Usage:
    """The use of the process `pid` and all below it."""

    def __init__(self, told: Instructions, pid: int) -> None:
        self._told = told
        self._pid = pid
        self._proc = ""
        self.cpu = 0.0
        self.memory = 0
        self._seconds = 0.0
        self._measured_at: float | None = None

    def look(self, now: float) -> None:
        processes = self._processes()
        sums = used(processes)
        if sums.tasks > self._told.tasks:
            raise Ended(
                f"it had {sums.tasks:,} processes and threads, and at most {self._told.tasks:,} are allowed",
                failed=True,
            )
        self.memory = sums.memory
        if sums.memory > self._told.memory:
            self.memory = exact_memory(processes, self._proc or "/proc")
            if self.memory > self._told.memory:
                raise Ended(
                    f"it took {size(self.memory)} of memory, and {self._told.instance} has "
                    f"{size(self._told.memory)}: choose an instance with more",
                    failed=True,
                )
        self._measure(sums.seconds, now)

    def main(self) -> int | None:
        """The number of the replica's own process, which the isolation may stand before."""
        if self._told.sandbox.isolation != BUBBLEWRAP:
            return self._pid
        inside = below(self._pid, list(all_in()))
        first = [it for it in inside if it.parent != self._pid]
        return min(first, key=lambda it: (it.started, it.pid)).pid if first else None

    def _processes(self) -> list[Process]:
        """All of them, with the numbers that they have in `_proc`, or where that is empty, in ours."""
        if not self._proc:
            found = list(all_in())
            inside = below(self._pid, found)
            if self._told.sandbox.isolation == BUBBLEWRAP:
                self._enter([it.pid for it in inside if it.parent == self._pid])
            if not self._proc:
                return [*(it for it in found if it.pid == self._pid), *inside]
        return list(all_in(self._proc))

    def _enter(self, inits: list[int]) -> None:
        """From now on ask the /proc of its own namespace, which holds its processes and no others."""
        for init in inits:
            proc = Path(f"/proc/{init}/root/proc")
            with suppress(OSError):  # it is not there yet
                # Until it has a root of its own this is our /proc; each namespace's is another device.
                if (proc / "1").exists() and proc.stat().st_dev != Path("/proc").stat().st_dev:
                    self._proc = str(proc)
                    self._bound()

    def _bound(self) -> None:
        """Have the kernel refuse far more (not to root), should they come faster than they are counted."""
        tasks = 2 * self._told.tasks
        with suppress(OSError, ValueError):
            for process in below(self._pid, list(all_in())):
                resource.prlimit(process.pid, resource.RLIMIT_NPROC, (tasks, tasks))

    def _measure(self, seconds: float, now: float) -> None:
        if self._measured_at is None or now - self._measured_at >= 1.0:
            if self._measured_at is not None:
                spent = max(0.0, seconds - self._seconds)
                self.cpu = min(1.0, spent / (now - self._measured_at) / self._told.cpus)
            self._seconds, self._measured_at = seconds, now


class Wanted:
    """Whether somebody still looks after this replica: a server, and the folder that it runs in."""

    def __init__(self, told: Instructions, folder: RunFolder) -> None:
        self._told = told
        self._folder = folder
        self._alone_since: float | None = None

    def look(self, now: float) -> None:
        if not self._folder.lock.exists():
            raise Ended("its folder was removed", failed=False)
        if is_locked(Path(self._told.server_lock)):
            self._alone_since = None
            return
        if self._alone_since is None:
            self._alone_since = now
        if now - self._alone_since >= self._told.orphan_after:
            raise Ended(f"no server has looked after it for {self._told.orphan_after:g} s", failed=False)
