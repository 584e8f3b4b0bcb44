"""Writes what was counted, once a second in one transaction; what cannot be written is kept for the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lanza.gateway.ledger import Ledger
from lanza.gateway.meter import Meter

log = logging.getLogger("lanza.gateway")

WRITE_EVERY: Final = 1.0


class Recorder:
    """`beside` is called as often. Call `start` and `close` on one event loop."""

    def __init__(self, meter: Meter, ledger: Ledger, *, beside: Callable[[], None]) -> None:
        self._meter = meter
        self._ledger = ledger
        self._beside = beside
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._reported = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._again_and_again())

    async def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._task is not None:
            await self._task  # not cancelled: what a thread is writing would be written twice
        await self.write()

    async def _again_and_again(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY):
                    await self._closing.wait()
            await self.write()
            self._beside()

    async def write(self) -> None:
        batch = self._meter.take()
        if batch.empty and not self._reported:
            return
        try:
            await self._ledger.write(batch)
        except (SQLAlchemyError, OSError) as error:
            log.warning("what was used could not be written, and is kept for the next try: %s", error)
            self._meter.put_back(batch)
        except Exception:
            log.exception("what was used could not be written, and is kept for the next try")
            self._meter.put_back(batch)
        else:
            self._reported = bool(batch.pending)
