"""Turns on one thread: fair, bounded, and ended in good order."""

from __future__ import annotations

import threading

import pytest

from lanza.engines.transformers.turns import Turns
from lanza.errors import Overloaded, Unavailable


class Job:
    """`steps` steps, written down in `log` under `name`; the first one waits for `gate`."""

    def __init__(self, name: str, steps: int, log: list[str], gate: threading.Event | None = None) -> None:
        self.name, self.left, self.log, self.gate = name, steps, log, gate
        self.done = threading.Event()
        self.given_up = False

    def step(self) -> bool:
        if self.gate is not None:
            assert self.gate.wait(10)
        self.log.append(self.name)
        self.left -= 1
        if not self.left:
            self.done.set()
        return not self.left

    def give_up(self) -> None:
        self.given_up = True
        self.done.set()


def test_a_long_job_does_not_make_a_short_one_wait_for_its_end() -> None:
    log: list[str] = []
    gate = threading.Event()
    turns = Turns(running=2, waiting=2)
    jobs = [Job("long", 6, log, gate), Job("short", 2, log)]
    for job in jobs:
        turns.submit(job)
    gate.set()
    assert all(job.done.wait(10) for job in jobs)
    turns.close()
    assert sorted(log) == ["long"] * 6 + ["short"] * 2
    assert log.index("short") <= 1
    assert "short" not in log[4:]


def test_those_behind_begin_when_one_is_done() -> None:
    log: list[str] = []
    turns = Turns(running=1, waiting=2)
    jobs = [Job(name, 2, log) for name in "abc"]
    gate = threading.Event()
    jobs[0].gate = gate
    for job in jobs:
        turns.submit(job)
    gate.set()
    assert all(job.done.wait(10) for job in jobs)
    assert log == ["a", "a", "b", "b", "c", "c"]
    turns.close()
    assert len(turns) == 0


def test_a_full_line_refuses() -> None:
    gate = threading.Event()
    turns = Turns(running=1, waiting=1)
    jobs = [Job(name, 1, [], gate) for name in "abc"]
    turns.submit(jobs[0])
    turns.submit(jobs[1])
    with pytest.raises(Overloaded):
        turns.submit(jobs[2])
    gate.set()
    turns.close()


def test_closing_gives_up_what_is_left_and_takes_no_more() -> None:
    gate = threading.Event()
    turns = Turns(running=1, waiting=5)
    first, second = Job("a", 10**6, [], gate), Job("b", 1, [])
    turns.submit(first)
    turns.submit(second)
    gate.set()
    turns.close()
    assert first.given_up
    assert second.given_up
    with pytest.raises(Unavailable):
        turns.submit(second)
