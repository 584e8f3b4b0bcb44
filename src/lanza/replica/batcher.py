"""Streams: the threads that take batches from the line, run the engine and hand the answers back.

Nothing waits for a timer: a stream that is free takes what is there, as soon as a burst of requests has come
in whole. When several are free they share what waits, so that no core idles; a request that is alone gets the
whole machine. The answers of a batch go back to the event loop in one call. A batch that fails is run again
piece by piece, so that one bad input does not take its neighbours down.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from lanza.engines.base import BatchEngine
from lanza.errors import DeadlineExceeded, EngineFailed, LanzaError, Overloaded, Unavailable
from lanza.replica.burst import Burst
from lanza.replica.queue import Entry, Line, Ticket
from lanza.tasks.work import Work

log = logging.getLogger("lanza.replica")

BURST: Final = 64
"""Pieces in the line that are enough to begin with, however many more are on their way."""


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """`tokens` in a batch, padding counted; `waiting` pieces in the line before 429s begin."""

    tokens: int
    waiting: int = 8192


class Job(Ticket):
    """A ticket whose answer an event loop waits for. `encode` makes bytes of it on the stream's thread."""

    __slots__ = ("encode", "future", "loop")

    def __init__(self, work: Work, encode: Callable[[Any], bytes]) -> None:
        super().__init__(work)
        self.encode = encode
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bytes] = self.loop.create_future()

    def settle(self, result: bytes | LanzaError) -> None:
        """On the event loop: give the answer, unless nobody waits any more."""
        if self.future.done():
            return
        if isinstance(result, LanzaError):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)

    def give_up(self) -> None:
        """On the event loop: drop the request."""
        self.given_up = True
        self.future.cancel()


class Batcher:
    """Runs a `BatchEngine` for many requests at once. `observe(pieces, tokens)` is told of every batch."""

    def __init__(
        self, engine: BatchEngine, limits: BatchLimits, observe: Callable[[int, int], None] | None = None
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._observe = observe or (lambda pieces, tokens: None)
        self._line = Line()
        self._changed = threading.Condition()
        self._busy = 0
        self._closing = False
        self._burst = Burst(enough=self._is_enough, ended=self._wake)
        self._rate = 0.0
        self._readers = ThreadPoolExecutor(max(2, engine.streams), thread_name_prefix="lanza-prepare")
        self._threads = [
            threading.Thread(target=self._stream, name=f"lanza-stream-{i}", daemon=True)
            for i in range(engine.streams)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pieces in the line."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Streams that compute."""
        return self._busy

    async def prepare(self, make: Callable[[], Work], *, long: bool) -> Work:
        """`make()`, on a thread of its own when it may take `long` enough to hold up other requests."""
        if not long:
            return make()
        return await asyncio.get_running_loop().run_in_executor(self._readers, make)

    def submit(self, work: Work, encode: Callable[[Any], bytes]) -> Job:
        """Queue a request; its `future` gets the encoded answer. Raises Overloaded, Unavailable."""
        job = Job(work, encode)
        with self._changed:
            if self._closing:
                raise Unavailable("this replica is stopping: send the request again.")
            if len(self._line) + len(work.pieces) > self._limits.waiting:
                self._line.drop_given_up()
            if self._line and len(self._line) + len(work.pieces) > self._limits.waiting:
                raise Overloaded(
                    f"{len(self._line)} sequences wait already: try again in a moment.",
                    retry_after=self._drain_seconds(),
                )
            self._line.push(job)
            self._burst.arrival(job.loop)
        return job

    def _is_enough(self) -> bool:
        return self._line.tokens >= self._limits.tokens or len(self._line) >= BURST

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify(min(len(self._line), len(self._threads)))

    def _drain_seconds(self) -> float:
        """How long the line will take at the speed of the last batches, 1 to 60 s."""
        return min(60.0, max(1.0, self._line.tokens / self._rate)) if self._rate else 1.0

    def close(self) -> None:
        """Stop taking requests, finish those that wait, end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _stream(self) -> None:
        while batch := self._next():
            started = time.perf_counter()
            try:
                alive = [entry for entry in batch if not entry.ticket.given_up]
                self._deliver(self._run(alive, alone=self._alone))
            finally:
                self._done(batch, time.perf_counter() - started)

    def _next(self) -> list[Entry]:
        """Wait for a batch; empty when the batcher closes and the line is empty."""
        with self._changed:
            while True:
                if batch := self._take():
                    self._busy += 1
                    return batch
                if self._closing:
                    return []
                self._changed.wait()

    def _take(self) -> list[Entry]:
        """This stream's share of what waits; nothing while a burst is coming in."""
        if self._burst.running and not self._closing:
            return []
        idle = len(self._threads) - self._busy
        share = -(-len(self._line) // idle)
        return self._line.take(budget=self._limits.tokens, most=max(1, share))

    @property
    def _alone(self) -> bool:
        return self._busy == 1 and not len(self._line)

    def _done(self, batch: Sequence[Entry], seconds: float) -> None:
        tokens = sum(entry.length for entry in batch)
        with self._changed:
            self._busy -= 1
            speed = tokens / max(seconds, 1e-6) * len(self._threads)
            self._rate = speed if not self._rate else 0.9 * self._rate + 0.1 * speed
        self._observe(len(batch), tokens)

    def _run(self, batch: Sequence[Entry], *, alone: bool) -> list[tuple[Entry, Any]]:
        """What is kept of each output of a batch, or the error that its entry met."""
        if not batch:
            return []
        try:
            outputs = self._engine.forward([entry.piece for entry in batch], alone=alone)
            return [
                (entry, entry.ticket.work.keep(entry.index, output))
                for entry, output in zip(batch, outputs, strict=True)
            ]
        # The replica's supervisor: whatever a model raises, a panic in a library's Rust among it, which is
        # no Exception. A thread that died of it would take its core with it.
        except BaseException as error:  # noqa: BLE001
            if len(batch) == 1:
                return [(batch[0], _as_failure(error))]
        return [result for entry in batch for result in self._run([entry], alone=alone)]

    def _deliver(self, results: Sequence[tuple[Entry, Any]]) -> None:
        """Store what is kept, encode the requests that are complete, tell their event loops once."""
        settled: dict[asyncio.AbstractEventLoop, list[tuple[Job, bytes | LanzaError]]] = {}
        for entry, kept in results:
            job = entry.ticket
            assert isinstance(job, Job)
            if isinstance(kept, LanzaError):
                job.given_up = True
                settled.setdefault(job.loop, []).append((job, kept))
            else:
                with self._changed:
                    complete = job.put(entry.index, kept)
                if complete and not job.given_up:
                    settled.setdefault(job.loop, []).append((job, _finish(job)))
        for loop, answers in settled.items():
            try:
                loop.call_soon_threadsafe(_settle_all, answers)
            except RuntimeError:
                log.warning("%d answers came after their event loop had ended", len(answers))


def _finish(job: Job) -> bytes | LanzaError:
    try:
        return job.encode(job.work.finish(job.kept))
    except BaseException as error:  # noqa: BLE001 -- as above, for what is made of the outputs
        return _as_failure(error)


def _settle_all(answers: Sequence[tuple[Job, bytes | LanzaError]]) -> None:
    for job, result in answers:
        job.settle(result)


def _as_failure(error: BaseException) -> LanzaError:
    if isinstance(error, LanzaError):
        return error
    log.error("the engine failed", exc_info=error)
    failure = EngineFailed("the model failed on this input; the server's log has the details.")
    failure.__cause__ = error
    return failure


def too_late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"no answer within {seconds:g} s: send less at once, or serve with a longer --deadline."
    )
