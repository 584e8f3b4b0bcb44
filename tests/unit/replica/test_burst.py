"""When a burst of requests has come in whole: counted in turns of the event loop, without a clock."""

from __future__ import annotations

import asyncio

from lanza.replica.burst import QUIET_TURNS, Burst


def test_a_request_that_is_alone_waits_for_the_quiet_turns_and_no_longer() -> None:
    assert asyncio.run(_turns_until_the_end([1])) == QUIET_TURNS


def test_requests_in_turns_that_follow_each_other_are_one_burst() -> None:
    # The last come in turn 3, are seen in turn 4, and then it must be quiet.
    assert asyncio.run(_turns_until_the_end([1, 1, 3, 1])) == 4 + QUIET_TURNS


def test_turns_without_news_end_it() -> None:
    assert asyncio.run(_turns_until_the_end([1, *[0] * QUIET_TURNS, 1])) == QUIET_TURNS


def test_enough_ends_a_burst_that_goes_on() -> None:
    assert asyncio.run(_turns_until_the_end([1] * 50, enough=5)) == 5  # turns 0 to 4 bring five


def test_the_next_request_begins_another_burst() -> None:
    async def main() -> int:
        ends: list[int] = []
        burst = Burst(enough=lambda: False, ended=lambda: ends.append(1))
        for _ in range(3):
            burst.arrival(asyncio.get_running_loop())
            assert burst.running
            while burst.running:
                await asyncio.sleep(0)
        return len(ends)

    assert asyncio.run(main()) == 3


async def _turns_until_the_end(arrivals: list[int], enough: int = 1000) -> int:
    """The number of turns after which a burst ends that has `arrivals[i]` requests in turn i."""
    loop = asyncio.get_running_loop()
    ended: list[None] = []
    come = 0
    burst = Burst(enough=lambda: come >= enough, ended=lambda: ended.append(None))
    for turn in range(len(arrivals) + 10):
        if ended:
            return turn
        for _ in range(arrivals[turn] if turn < len(arrivals) else 0):
            come += 1
            burst.arrival(loop)
        await asyncio.sleep(0)
    raise AssertionError("the burst never ended")
