"""Which call runs when, and where.

- An async `__call__` runs on the event loop, as many at once as there are requests.
- Any other runs in one thread, one at a time. A generator keeps the thread until it ends.
- With `batch`, requests that wait are given together; the batches run one at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .batching import Batcher
from .calls import Call, Channel
from .trial import Trial
from .watchdog import Watchdog

_ANSWERED = object()


class Service:
    """Made on the running event loop. `stopped` is set when the replica asks to stop."""

    def __init__(self, handler: Any, channel: Channel, folder: str, watchdog: Watchdog) -> None:
        self.stopped = asyncio.Event()
        self._handler = handler
        self._channel = channel
        self._folder = folder
        self._watchdog = watchdog
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="handler")
        self._calls: dict[int, tuple[Call, asyncio.Task[None]]] = {}
        self._async = _is_async(type(handler).__call__) if callable(handler) else False
        self._batcher = Batcher(self._run_batch) if _has_batch(handler) else None

    def receive(self, header: Mapping[str, Any], body: bytes) -> None:
        match header["op"]:
            case "call":
                self._begin(header, body)
            case "more" if header["id"] in self._calls:
                self._calls[header["id"]][0].flow.grant(header["count"])
            case "cancel" if header["id"] in self._calls:
                call, task = self._calls[header["id"]]
                call.flow.close()
                task.cancel()
            case "stop":
                self.stopped.set()

    def close(self) -> None:
        for call, task in self._calls.values():
            call.flow.close()
            task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self, header: Mapping[str, Any], body: bytes) -> None:
        call = Call(self._channel, header, body, self._folder)
        task = asyncio.get_running_loop().create_task(self._serve(call))
        self._calls[header["id"]] = call, task
        task.add_done_callback(lambda task: self._finish(header["id"], call, task))

    def _finish(self, number: int, call: Call, task: asyncio.Task[None]) -> None:
        del self._calls[number]
        if task.cancelled() and not call.flow.closed:
            call.fail(asyncio.CancelledError("the handler cancelled its own call"))
        elif not task.cancelled() and (error := task.exception()):
            call.fail(error)

    async def _serve(self, call: Call) -> None:
        with Trial() as trial:
            if self._batcher:
                result = await self._batcher.submit(call)
            elif self._async:
                call.started()
                result = self._handler(call.data())
            else:
                result = await self._in_thread(self._call_in_thread, call)
            await self._deliver(call, result)
        if trial.error:
            call.fail(trial.error)

    async def _deliver(self, call: Call, result: Any) -> None:
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, AsyncIterator):
            await call.stream_async(result)
        elif _is_stream(result):
            await self._in_thread(call.stream, result)
        elif result is not _ANSWERED:
            call.answer(result)

    def _call_in_thread(self, call: Call) -> Any:
        if call.flow.closed:
            return _ANSWERED
        call.started()
        result = self._handler(call.data())
        if _is_stream(result):
            call.stream(result)
        elif _is_for_the_loop(result):
            return result
        else:
            call.answer(result)  # before the next call may end the process
        return _ANSWERED

    async def _run_batch(self, requests: list[dict[str, Any]]) -> Any:
        if _is_async(self._handler.batch):
            return await self._handler.batch(requests)
        result = await self._in_thread(self._handler.batch, requests)
        if inspect.isawaitable(result):
            result = await result
        return list(result) if _is_stream(result) else result

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        def run() -> Any:
            try:
                return self._watchdog.watched(function, *args)
            except StopIteration as error:  # a future cannot hold one
                raise RuntimeError("the handler raised StopIteration") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _has_batch(handler: Any) -> bool:
    return callable(getattr(handler, "batch", None))


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_for_the_loop(result: Any) -> bool:
    return inspect.isawaitable(result) or isinstance(result, AsyncIterator)


def _is_stream(result: Any) -> bool:
    # an open file is an iterator as well, and not what is meant
    return isinstance(result, Iterator) and not isinstance(result, io.IOBase)
