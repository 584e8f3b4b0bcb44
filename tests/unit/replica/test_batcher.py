"""The batcher with an engine that only counts: no model, no socket, no sleep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from lanza.errors import BadRequest, EngineFailed, Overloaded, Unavailable
from lanza.replica.batcher import Batcher, BatchLimits
from lanza.tasks.work import Work


class Doubling:
    """Doubles numbers; `gate` holds it back so that a queue builds up."""

    def __init__(self, *, streams: int = 1, held: bool = False) -> None:
        self.streams = streams
        self.batches: list[list[int]] = []
        self.alone: list[bool] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        if not held:
            self.gate.set()

    @property
    def batch_tokens(self) -> int:
        return 100

    def forward(self, pieces: Sequence[Any], *, alone: bool) -> Sequence[Any]:
        self.batches.append(list(pieces))
        self.alone.append(alone)
        self.entered.set()
        assert self.gate.wait(20)
        if 13 in pieces:
            raise ValueError("thirteen")
        if 4 in pieces:
            raise BadRequest("four is not for us")
        return [2 * piece for piece in pieces]


def work(*numbers: int) -> Work:
    return Work(pieces=numbers, lengths=[1] * len(numbers), finish=list)


def encode(answer: Any) -> bytes:
    return repr(answer).encode()


def batcher(engine: Doubling, **limits: Any) -> Batcher:
    return Batcher(engine, BatchLimits(**{"tokens": 100, **limits}))  # type: ignore[arg-type]


def test_answers_come_back_in_order() -> None:
    async def main() -> list[bytes]:
        made = batcher(Doubling(streams=2))
        jobs = [made.submit(work(i, i + 20), encode) for i in (1, 2, 3)]
        answers = [await job.future for job in jobs]
        made.close()
        return answers

    assert asyncio.run(main()) == [b"[2, 42]", b"[4, 44]", b"[6, 46]"]


def test_what_waits_runs_together() -> None:
    engine = Doubling(held=True)

    async def main() -> None:
        made = batcher(engine)
        first = made.submit(work(1), encode)
        assert await asyncio.to_thread(engine.entered.wait, 20)
        rest = [made.submit(work(i), encode) for i in (2, 3, 5)]
        engine.gate.set()
        await asyncio.gather(first.future, *(job.future for job in rest))
        made.close()

    asyncio.run(main())
    assert engine.batches == [[1], [2, 3, 5]]
    assert engine.alone == [True, True]


@pytest.mark.parametrize(("bad", "expected"), [(13, EngineFailed), (4, BadRequest)])
def test_one_bad_input_does_not_take_its_neighbours_down(bad: int, expected: type[Exception]) -> None:
    engine = Doubling(held=True)

    async def main() -> list[Any]:
        made = batcher(engine)
        first = made.submit(work(1), encode)
        assert await asyncio.to_thread(engine.entered.wait, 20)
        jobs = [made.submit(work(i), encode) for i in (2, bad, 3)]
        engine.gate.set()
        await first.future
        answers = await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)
        made.close()
        return answers

    good, failed, also_good = asyncio.run(main())
    assert (good, also_good) == (b"[4]", b"[6]")
    assert isinstance(failed, expected)
    assert "thirteen" not in str(failed)


def test_a_panic_in_a_library_does_not_cost_a_stream() -> None:
    """What Rust raises when it panics is no Exception; the next request is answered all the same."""

    class Panicking(Doubling):
        def forward(self, pieces: Sequence[Any], *, alone: bool) -> Sequence[Any]:
            if 99 in pieces:
                raise BaseException("panic")
            return super().forward(pieces, alone=alone)

    async def main() -> Any:
        made = batcher(Panicking())
        failed = made.submit(work(99), encode)
        answers = await asyncio.gather(failed.future, return_exceptions=True)
        after = await made.submit(work(2), encode).future
        made.close()
        return answers[0], after, made.running

    failure, after, running = asyncio.run(main())
    assert isinstance(failure, EngineFailed)
    assert (after, running) == (b"[4]", 0)


def test_a_request_that_is_given_up_is_skipped() -> None:
    engine = Doubling(held=True)

    async def main() -> None:
        made = batcher(engine)
        first = made.submit(work(1), encode)
        assert await asyncio.to_thread(engine.entered.wait, 20)
        gone = made.submit(work(7), encode)
        kept = made.submit(work(2), encode)
        gone.give_up()
        engine.gate.set()
        await asyncio.gather(first.future, kept.future)
        assert gone.future.cancelled()
        made.close()

    asyncio.run(main())
    assert [7] not in engine.batches
    assert all(7 not in batch for batch in engine.batches)


def test_a_full_queue_says_so_and_when_to_come_back() -> None:
    engine = Doubling(held=True)

    async def main() -> Overloaded:
        made = batcher(engine, waiting=3)
        jobs = [made.submit(work(1), encode)]
        assert await asyncio.to_thread(engine.entered.wait, 20)
        jobs += [made.submit(work(i), encode) for i in (2, 3, 5)]
        with pytest.raises(Overloaded) as caught:
            made.submit(work(6), encode)
        engine.gate.set()
        await asyncio.gather(*(job.future for job in jobs))
        made.close()
        return caught.value

    error = asyncio.run(main())
    assert error.status == 429
    assert error.retry_after is not None
    assert error.retry_after >= 1


def test_places_of_those_who_left_are_free_again() -> None:
    engine = Doubling(held=True)

    async def main() -> bytes:
        made = batcher(engine, waiting=1)
        first = made.submit(work(1), encode)
        assert await asyncio.to_thread(engine.entered.wait, 20)
        made.submit(work(2), encode).give_up()
        late = made.submit(work(3), encode)
        engine.gate.set()
        await first.future
        answer = await late.future
        made.close()
        return answer

    assert asyncio.run(main()) == b"[6]"


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    engine = Doubling(held=True)

    async def main() -> list[bytes]:
        made = batcher(engine)
        jobs = [made.submit(work(i), encode) for i in (1, 2, 3)]
        closing = asyncio.get_running_loop().run_in_executor(None, made.close)
        while not made._closing:
            await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            made.submit(work(5), encode)
        engine.gate.set()
        answers = [await job.future for job in jobs]
        await closing
        return answers

    assert asyncio.run(main()) == [b"[2]", b"[4]", b"[6]"]


def test_an_answer_that_cannot_be_made_is_an_error_of_its_own_request() -> None:
    def broken(outputs: Sequence[Any]) -> Any:
        raise KeyError("oops")

    async def main() -> Any:
        made = batcher(Doubling())
        job = made.submit(Work(pieces=[1], lengths=[1], finish=broken), encode)
        answer = (await asyncio.gather(job.future, return_exceptions=True))[0]
        made.close()
        return answer

    assert isinstance(asyncio.run(main()), EngineFailed)


def test_a_burst_is_one_batch_though_a_stream_is_free() -> None:
    engine = Doubling()

    async def main() -> None:
        made = batcher(engine)
        jobs = []
        for number in (1, 2, 3):
            jobs.append(made.submit(work(number), encode))
            await asyncio.sleep(0)
        assert await asyncio.gather(*(job.future for job in jobs)) == [b"[2]", b"[4]", b"[6]"]
        made.close()

    asyncio.run(main())
    assert [sorted(batch) for batch in engine.batches] == [[1, 2, 3]]


def test_closing_in_the_middle_of_a_burst_answers_it() -> None:
    async def main() -> bytes:
        made = batcher(Doubling(streams=2))
        job = made.submit(work(1, 2), encode)
        made.close()  # before the event loop has had a turn
        return await job.future

    assert asyncio.run(main()) == b"[2, 4]"
