"""Of the server's processes one looks after endpoints: the one that holds the lease, while it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from lanza.endpoints.lease import BEAT, Lease

log: Final = logging.getLogger("lanza.server")

Sleep = Callable[[float], Awaitable[object]]


async def lead(lease: Lease, work: Callable[[], Coroutine[Any, Any, None]], *, sleep: Sleep) -> None:
    """Run `work` while the lease is held, until cancelled; then leave the lease to others."""
    task: asyncio.Task[None] | None = None
    try:
        while True:
            if await _beat(lease):
                if task is not None and task.done():
                    await _ended(task)
                    task = None
                task = task or asyncio.create_task(work())
            elif task is not None:
                log.warning("the lease of endpoints is lost: whoever has it looks after them from now on")
                await _ended(task)
                task = None
            await sleep(BEAT)
    finally:
        if task is not None:
            await _ended(task)
        await asyncio.to_thread(_release, lease)


async def _beat(lease: Lease) -> bool:
    try:
        return await asyncio.to_thread(lease.beat)
    except SQLAlchemyError as error:
        log.warning("the lease of endpoints cannot be written: %s", error)
        return lease.held


def _release(lease: Lease) -> None:
    try:
        lease.release()
    except SQLAlchemyError as error:
        log.warning("the lease of endpoints cannot be given back, so it has to run out: %s", error)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    for raised in await asyncio.gather(task, return_exceptions=True):
        if isinstance(raised, Exception):
            log.error("looking after endpoints ended", exc_info=raised)
