"""What is known of endpoints right now: read beside the event loop, believed for a second at most.

The model: one entry for each endpoint that was asked for. A young entry is used as it is, a middle-aged one
is used while it is read anew, an old one is waited for. All that is wanted at a time is one read, on a
thread. A database that is away leaves what was known in use for a while, so that endpoints that run go on
answering.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lanza.errors import LanzaError, Unavailable
from lanza.gateway.targets import Target

log = logging.getLogger("lanza.gateway")

FRESH: Final = 0.9
"""Seconds for which an entry is used without another look."""
OLD: Final = 1.0
"""Seconds after which nobody is sent by what an entry says, as long as the database answers."""
PATIENCE: Final = 1.0
"""Seconds that a request waits for a read, when something is known."""
BELIEVED: Final = 300.0
"""Seconds for which an entry is used while the database does not answer."""
MOST: Final = 20_000

Read = Callable[[Collection[str]], Awaitable[Mapping[str, Target]]]
"""The targets of the keys that exist. Raises SQLAlchemy's errors, OSError or errors of the tree."""


@dataclass(slots=True)
class _Entry:
    target: Target | None = None
    at: float = float("-inf")
    changed: float = float("-inf")
    news: asyncio.Event = field(default_factory=asyncio.Event)


class RouteTable:
    """Belongs to one event loop. `clock` gives seconds."""

    def __init__(self, read: Read, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._keys: dict[int, str] = {}
        self._wanted: set[str] = set()
        self._round: asyncio.Future[bool] | None = None
        self._task: asyncio.Task[None] | None = None

    def young(self, key: str) -> Target | None:
        """The target, if it is known well enough to be used at once."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age = self._clock() - entry.at
        if age < FRESH:
            return entry.target
        if age < OLD:
            self._want(key)
            return entry.target
        return None

    async def get(self, key: str, *, newer_than: float = OLD) -> Target | None:
        """The target, None when there is no such endpoint. Unavailable when that cannot be found out."""
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.at >= newer_than:
            await self._wait(key, for_ever=entry is None)
            entry = self._entries.get(key)
        if entry is None or self._clock() - entry.at > BELIEVED:
            raise Unavailable("the server's database is busy or away: try again in a moment.")
        return entry.target

    async def news(self, key: str, within: float) -> None:
        """Return when what is known of `key` has changed, or after `within` seconds."""
        entry = self._entries.get(key)
        if entry is None:
            return
        try:
            async with asyncio.timeout(within):
                await entry.news.wait()
        except TimeoutError:
            pass

    def changed(self, endpoint_id: int) -> None:
        """Read an endpoint at once; one that is unknown may be what somebody was told does not exist."""
        key = self._keys.get(endpoint_id)
        if key is not None:
            entry = self._entries[key]
            entry.changed = self._clock()
            entry.at = min(entry.at, entry.changed - 2 * OLD)  # from now on nobody is sent by what it says
            self._want(key)
            return
        for one in [key for key, entry in self._entries.items() if entry.target is None]:
            self._forget(one)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _wait(self, key: str, *, for_ever: bool) -> None:
        """For the next read that begins from now on."""
        reading = self._want(key)
        try:
            async with asyncio.timeout(None if for_ever else PATIENCE):
                await asyncio.shield(reading)
        except TimeoutError:
            log.warning("the database is slow: %s is served by what was known before", key)

    def _want(self, key: str) -> asyncio.Future[bool]:
        self._wanted.add(key)
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        return self._round

    async def _look(self) -> None:
        while self._round is not None:
            keys, self._wanted = self._wanted, set()
            reading, self._round = self._round, None
            asked = self._clock()
            try:
                found = await self._read(keys)
            except (SQLAlchemyError, OSError, LanzaError) as error:
                log.warning("endpoints could not be read: %s", error)
            else:
                for key in keys:
                    self._note(key, found.get(key), asked)
            finally:
                if not reading.done():
                    reading.set_result(True)

    def _note(self, key: str, target: Target | None, asked: float) -> None:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            if len(self._entries) > MOST:
                self._forget(next(iter(self._entries)))
        entry.at = asked if asked >= entry.changed else min(asked, entry.changed - 2 * OLD)
        if entry.target == target:
            return
        if entry.target is not None:
            self._keys.pop(entry.target.id, None)
        if target is not None:
            self._keys[target.id] = key
        entry.target = target
        entry.news.set()
        entry.news = asyncio.Event()

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key)
        if entry.target is not None:
            self._keys.pop(entry.target.id, None)
        entry.news.set()
