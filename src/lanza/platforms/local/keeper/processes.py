"""The processes below one: how many, how much memory, how much time of cores. Read from /proc.

In a pid namespace the /proc of that namespace has them all and no others; else they are found by their
parents. Memory is the sum of resident pages; only where that is over a limit is it counted exactly, pages
that several share once (PSS).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process: its number, its parent's, when it was started, its threads, seconds of cores, bytes."""

    pid: int
    parent: int
    started: int
    threads: int
    seconds: float
    memory: int
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Used:
    """What processes use together."""

    processes: int = 0
    tasks: int = 0
    seconds: float = 0.0
    memory: int = 0


def parse(line: str) -> Process:
    """A line of /proc/<pid>/stat. The name in parentheses may hold anything."""
    head, _, tail = line.rpartition(")")
    words = tail.split()
    return Process(
        pid=int(head.split(" ", 1)[0]),
        parent=int(words[1]),
        started=int(words[19]),
        threads=int(words[17]),
        seconds=(int(words[11]) + int(words[12])) * TICK,
        memory=max(0, int(words[21])) * PAGE,
        ended=words[0] in ("Z", "X"),
    )


def all_in(proc: str = "/proc") -> Iterator[Process]:
    """The processes of a /proc, but those that end meanwhile."""
    try:
        names = os.listdir(proc)  # noqa: PTH208 -- several times a second
    except OSError:
        return
    for name in names:
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                yield parse(_read(f"{proc}/{name}/stat"))


def below(root: int, processes: list[Process]) -> list[Process]:
    """Those that descend from `root`, without it."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    wave = children.get(root, [])
    while wave:
        found += wave
        wave = [child for process in wave for child in children.get(process.pid, [])]
    return found


def used(processes: list[Process]) -> Used:
    living = [it for it in processes if not it.ended]
    return Used(
        processes=len(living),
        tasks=sum(it.threads for it in living),
        seconds=sum(it.seconds for it in living),
        memory=sum(it.memory for it in living),
    )


def exact_memory(processes: list[Process], proc: str = "/proc") -> int:
    """Their memory, with pages that several share counted once; resident pages where that cannot be read."""
    return sum(_shared_fairly(it, proc) for it in processes if not it.ended)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 -- several times a second
        return file.read()


def _shared_fairly(process: Process, proc: str) -> int:
    with suppress(OSError, ValueError):
        for line in _read(f"{proc}/{process.pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return process.memory


def killed_for_memory() -> int:
    """How many processes the system has killed for want of memory, since it was started."""
    with suppress(OSError, ValueError):
        for line in _read("/proc/vmstat").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
