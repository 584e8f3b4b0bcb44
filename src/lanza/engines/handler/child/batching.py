"""Requests that wait while a batch runs are the next batch.

A request that finds the handler free runs at once and alone. When `batch()` raises, its requests are tried
one by one, so that an error is told only to the request which causes it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .calls import Call
from .trial import Trial, describe

LARGEST_BATCH = 32

Run = Callable[[list[dict[str, Any]]], Awaitable[Any]]


class WrongBatch(TypeError):
    """`batch()` gave back something else than one result for each request."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    call: Call
    result: asyncio.Future[Any]


class Batcher:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: deque[_Waiting] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def submit(self, call: Call) -> Any:
        """The result for this call. A call that is cancelled while it waits is left out."""
        waiting = _Waiting(call=call, result=asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run_all())
        return await waiting.result

    async def _run_all(self) -> None:
        while self._waiting:
            group: list[tuple[_Waiting, dict[str, Any]]] = []
            while self._waiting and len(group) < LARGEST_BATCH:
                waiting = self._waiting.popleft()
                if waiting.result.done():
                    continue
                with Trial() as trial:
                    group.append((waiting, waiting.call.data()))
                if trial.error:
                    waiting.result.set_exception(trial.error)
            if group:
                await self._run_group(group)
                await asyncio.sleep(0)  # the answers go out before the next batch may end the process

    async def _run_group(self, group: Sequence[tuple[_Waiting, dict[str, Any]]]) -> None:
        for waiting, _ in group:
            waiting.call.started()
        with Trial(cancellation=True) as trial:
            results = await self._run([data for _, data in group])
        if trial.error is None:
            _settle([waiting.result for waiting, _ in group], results)
        elif len(group) == 1:
            _raise(group[0][0].result, trial.error)
        else:
            told = describe(trial.error, "")["message"]
            print(f"batch() raised for {len(group)} requests, now tried one by one: {told}", file=sys.stderr)
            for one in group:
                await self._run_group([one])
                await asyncio.sleep(0)


def _settle(futures: Sequence[asyncio.Future[Any]], results: Any) -> None:
    if callable(convert := getattr(results, "tolist", None)):
        results = convert()
    problem = None
    if not isinstance(results, list | tuple):
        problem = f"batch() returned a {type(results).__name__} for {len(futures)} requests"
    elif len(results) != len(futures):
        problem = f"batch() returned {len(results)} results for {len(futures)} requests"
    for index, future in enumerate(futures):
        if problem:
            _raise(future, WrongBatch(f"{problem}: it must return a list with one for each, in their order"))
        elif not future.done():
            future.set_result(results[index])


def _raise(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
