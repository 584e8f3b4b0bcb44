"""Guessing gets slow, mistyping does not, and nobody is locked out for long."""

from __future__ import annotations

import pytest

from auth_app import Clock
from lanza.auth.guard import FORGET_AFTER, FREE, LONGEST_WAIT, MOST_KEYS, Guard
from lanza.errors import Overloaded


def waits(guard: Guard, key: str = "ana") -> float:
    """How long `key` must wait now."""
    try:
        guard.check(key)
    except Overloaded as error:
        return error.retry_after or 0.0
    return 0.0


def test_the_first_failures_cost_nothing() -> None:
    guard = Guard(Clock())
    for _ in range(FREE - 1):
        guard.failed("ana")
        assert waits(guard) == 0


def test_each_further_failure_costs_twice_as_much() -> None:
    guard = Guard(Clock())
    found = []
    for _ in range(FREE + 8):
        guard.failed("ana")
        found.append(waits(guard))
    assert found[FREE - 1 :] == [1, 2, 4, 8, 16, 32, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]


def test_waiting_is_enough() -> None:
    clock = Clock()
    guard = Guard(clock)
    for _ in range(FREE + 3):
        guard.failed("ana")
    clock.now += 7.9
    with pytest.raises(Overloaded, match="wait 1 s"):
        guard.check("ana")
    clock.now += 0.2
    guard.check("ana")


def test_others_are_not_slowed_down() -> None:
    guard = Guard(Clock())
    for _ in range(20):
        guard.failed("ana")
    assert waits(guard, "eva") == 0


def test_success_forgets_the_failures() -> None:
    guard = Guard(Clock())
    for _ in range(20):
        guard.failed("ana")
    guard.succeeded("ana")
    guard.failed("ana")
    assert waits(guard) == 0
    guard.succeeded("nobody")


def test_time_forgets_them_too() -> None:
    clock = Clock()
    guard = Guard(clock)
    for _ in range(20):
        guard.failed("ana")
    clock.now += FORGET_AFTER + 1
    guard.failed("ana")
    assert waits(guard) == 0


def test_where_many_share_a_key_more_is_free() -> None:
    guard = Guard(Clock())
    for _ in range(FREE + 4):
        guard.failed("school")
    guard.check("school", free=20)
    with pytest.raises(Overloaded):
        guard.check("school")


def test_it_remembers_a_bounded_number_of_keys() -> None:
    guard = Guard(Clock())
    for number in range(MOST_KEYS + 10):
        guard.failed(f"address {number}")
    assert len(guard._failures) == MOST_KEYS


def test_a_million_failures_overflow_nothing() -> None:
    guard = Guard(Clock())
    for _ in range(5000):
        guard.failed("ana")
    assert waits(guard) == LONGEST_WAIT
