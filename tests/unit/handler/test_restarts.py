"""The pauses between deaths."""

from __future__ import annotations

import pytest

from lanza.engines.handler.restarts import count_failure, delay_after
from lanza.engines.handler.worker import describe_end


def test_pauses_double_up_to_ten_seconds() -> None:
    pauses = [delay_after(n) for n in range(1, 10)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert delay_after(10**9) == 10


def test_a_healthy_minute_is_a_new_start() -> None:
    assert count_failure(0, lived=0.1) == 1
    assert count_failure(6, lived=59.9) == 7
    assert count_failure(6, lived=60.0) == 1


def test_deaths_are_told_in_words() -> None:
    assert describe_end(3) == "ended with status 3"
    assert describe_end(-9) == "was killed by SIGKILL (out of memory?)"
    assert describe_end(-11) == "was killed by SIGSEGV"
    assert describe_end(-250) == "was killed by signal 250"
