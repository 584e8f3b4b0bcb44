"""Requests that wait for a replica: while an endpoint wakes, while one that died is replaced.

The model: who waits is told by the table when something changes, and looks by itself a few times a second,
for the replica may be started by another process. Whoever finds an endpoint asleep wakes it; of many at once
one does. What will not come, because the endpoint is paused or has failed, is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from lanza.endpoints.states import State
from lanza.errors import NotFound, Overloaded, Unavailable
from lanza.gateway.fleet import Fleet, Fleets, Member, now
from lanza.gateway.table import RouteTable
from lanza.gateway.targets import Target

LOOK_EVERY: Final = 0.25
"""Seconds between two reads of an endpoint that somebody waits for."""
_BARELY: Final = 0.01

Wake = Callable[[int], Coroutine[Any, Any, None]]
"""Starts an endpoint that is at zero, and tells the control plane."""


class TooLong(Exception):
    """Nobody was ready in time. `target` is what was known last."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.label)
        self.target = target


class Holding:
    """Belongs to one event loop. At most `most` requests wait."""

    def __init__(self, *, table: RouteTable, fleets: Fleets, wake: Wake, most: int) -> None:
        self._table = table
        self._fleets = fleets
        self._wake = wake
        self._most = most
        self._waking: dict[int, asyncio.Task[None]] = {}
        self.held = 0

    async def member(self, target: Target, *, until: float) -> tuple[Target, Member]:
        """A ready replica, and what is known of the endpoint by then.

        Raises TooLong, Unavailable with the reason why there will be none, NotFound, Overloaded.
        """
        if self.held >= self._most:
            raise Overloaded(f"{self._most} requests wait here for replicas already: try again later.")
        self.held += 1
        try:
            while True:
                check_awaited(target)
                fleet = self._fleets.of(target)
                member = fleet.pick(now())
                if member is not None:
                    return target, member
                if target.asleep:
                    await self._woken(target)
                target = await self._next(target, fleet, until)
        finally:
            self.held -= 1

    async def nudge(self, target: Target) -> None:
        """Wake it, for somebody who does not wait."""
        check_awaited(target)
        if target.asleep:
            await self._woken(target)

    async def _next(self, target: Target, fleet: Fleet, until: float) -> Target:
        """What is known of the endpoint after a moment, or sooner when it has changed."""
        left = min(until, fleet.next_try, now() + LOOK_EVERY) - now()
        if now() >= until:
            raise TooLong(target)
        await self._table.news(target.key, max(left, _BARELY))
        found = await self._table.get(target.key, newer_than=0.8 * LOOK_EVERY)
        if found is None:
            raise NotFound(f"{target.label} was removed while this request waited for it.")
        return found

    async def _woken(self, target: Target) -> None:
        task = self._waking.get(target.id)
        if task is None:
            task = self._waking[target.id] = asyncio.create_task(self._wake(target.id))
            task.add_done_callback(lambda _: self._waking.pop(target.id))
        await asyncio.shield(task)
        self._table.changed(target.id)


def check_awaited(target: Target) -> None:
    """Unavailable, with the reason, when no replica is to be expected."""
    said = f": {target.message}" if target.message else ""
    if target.state is State.PAUSED:
        raise Unavailable(
            f"{target.label} is paused{said}. Its owner can resume it: `lanza resume {target.label}`.",
            retry_after=60,
        )
    if target.state is State.FAILED:
        raise Unavailable(
            f"{target.label} has failed{said}. `lanza logs {target.label}` has the rest.", retry_after=60
        )
