"""How far a stream may run ahead of its reader, and whether anybody reads it still."""

from __future__ import annotations

import asyncio
import threading

from .wire import WINDOW


class Flow:
    """Made, granted to and closed on the event loop; taken from there or from the handler's thread."""

    def __init__(self) -> None:
        self._left = WINDOW
        self._closed = False
        self._condition = threading.Condition()
        self._event = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closed

    def grant(self, count: int) -> None:
        with self._condition:
            self._left += count
            self._condition.notify_all()
        self._event.set()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._event.set()

    def take(self) -> bool:
        """Wait in a thread until a chunk may be sent; false when nobody wants it."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._left > 0)
            self._left -= 1
            return not self._closed

    async def take_async(self) -> bool:
        """The same on the event loop."""
        while not self._closed and self._left <= 0:
            self._event.clear()
            await self._event.wait()
        with self._condition:
            self._left -= 1
            return not self._closed
