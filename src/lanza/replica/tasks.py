"""The service of a `BatchEngine`: bodies to work, work to the batcher, answers back to their callers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from lanza.engines.base import BatchEngine
from lanza.protocols import huggingface
from lanza.replica.batcher import Batcher, BatchLimits, Job, too_late
from lanza.replica.http import Disconnected, Exchange, Route, Routes
from lanza.replica.metrics import Metrics
from lanza.replica.spec import Limits
from lanza.tasks.base import Media, Task
from lanza.tasks.work import Work, check_size

LONG: Final = 8192
"""Bodies of more bytes than this are read on a thread, so that they hold nobody up."""

PATIENCE: Final = 0.1
"""Seconds after which a waiting request is watched for its client going away: most are done before."""


class TaskService:
    """Serves one task of the Hub at `/` and `/predict`."""

    def __init__(self, engine: BatchEngine, task: Task, limits: Limits, metrics: Metrics) -> None:
        self._engine = engine
        self._task = task
        self._limits = limits
        tokens = limits.batch_tokens or engine.batch_tokens
        self._batcher = Batcher(
            engine, BatchLimits(tokens=tokens, waiting=limits.waiting), observe=metrics.batch
        )
        self._slow_to_read = task.media is not Media.TEXT
        predict = {"POST": Route(self.predict, huggingface.encode_error)}
        self.routes: Routes = {"/": predict, "/predict": predict}

    @property
    def waiting(self) -> int:
        return self._batcher.waiting

    @property
    def running(self) -> int:
        return self._batcher.running

    async def predict(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(self._limits.deadline):
                answer = await self._ask(exchange)
        except TimeoutError:
            raise too_late(self._limits.deadline) from None
        await exchange.answer(answer)

    async def _ask(self, exchange: Exchange) -> bytes:
        body = await exchange.body(self._limits.body_bytes)
        read = partial(self._read, body, exchange.header(b"content-type"))
        work = await self._batcher.prepare(read, long=self._slow_to_read or len(body) > LONG)
        job = self._batcher.submit(work, huggingface.encode)
        return await self._wait(job, exchange)

    def _read(self, body: bytes, content_type: str) -> Work:
        decoded: Any = huggingface.decode(self._task, body, content_type)
        work = self._engine.prepare(decoded)
        return work if self._slow_to_read else check_size(work)

    async def _wait(self, job: Job, exchange: Exchange) -> bytes:
        """The answer, unless the client goes first."""
        watch = Watch(job, exchange)
        patience = asyncio.get_running_loop().call_later(PATIENCE, watch.begin)
        try:
            return await job.future
        except asyncio.CancelledError:
            if watch.gone:
                raise Disconnected from None
            job.give_up()
            raise
        finally:
            patience.cancel()
            watch.end()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._batcher.close)


class Watch:
    """Gives a job up when its client disconnects. Begun late, for most answers are there before."""

    def __init__(self, job: Job, exchange: Exchange) -> None:
        self._job = job
        self._exchange = exchange
        self._task: asyncio.Task[None] | None = None
        self.gone = False

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        message = await self._exchange.receive()
        if message["type"] == "http.disconnect" and not self._job.future.done():
            self.gone = True
            self._job.give_up()

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
