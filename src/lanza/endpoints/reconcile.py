"""The loop that brings what is seen of endpoints to what is wanted: look, decide, act, again.

One look: ask the platforms what runs; in one transaction read the endpoints that need attention, note what is
seen, decide for each (`decide.py`) and write that; then start and stop. A replica's row is written before it
is started and removed after it has ended, so that a crash between any two steps leaves nothing which the next
look does not see. Endpoints that are at rest and have no replicas are not even read.

The loop is one of the supervisors: whatever goes wrong is logged, and looked at again. It routes nothing and
knows no repositories: folders come from a `Pantry`, wishes go to platforms.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lanza.database import Database
from lanza.endpoints.notices import Notify
from lanza.endpoints.orders import Pantry
from lanza.endpoints.plan import FolderKey, Folders, Plan
from lanza.endpoints.platform import Order, Platform, Sight
from lanza.endpoints.secrets import Vault
from lanza.endpoints.settle import Settler
from lanza.errors import LanzaError, NoRoom

log = logging.getLogger("lanza.endpoints")

LOOK_EVERY: Final = 0.5
"""Seconds between two looks while something runs or is about to; a nudge brings the next one at once."""
REST: Final = 2.0
"""Seconds between two looks while nothing does."""
AFTER_FAILURE: Final = 2.0

Changed = Callable[[int], None]
"""Told of an endpoint's number when what the gateway knows of it is no longer so."""


class Reconciler:
    """Runs on one event loop, in one process of the server. `clock` gives seconds since 1970."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        platforms: Mapping[str, Platform],
        pantry: Pantry,
        notify: Notify,
        changed: Changed,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._platforms = platforms
        self._folders = _Folders(pantry)
        self._settler = Settler(database=database, vault=vault, folders=self._folders, clock=clock)
        self._notify = notify
        self._changed = changed
        self._nudged = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._folders.done = self.nudge

    def nudge(self) -> None:
        """Look now. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._nudged.set)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._nudged.clear()
            try:
                pause = LOOK_EVERY if await self.look() else REST
            except SQLAlchemyError as error:
                log.warning("endpoints have to wait for the database: %s", error)
                pause = AFTER_FAILURE
            except Exception:
                log.exception("endpoints could not be looked after; the next look is in %g s", AFTER_FAILURE)
                pause = AFTER_FAILURE
            try:
                async with asyncio.timeout(pause):
                    await self._nudged.wait()
            except TimeoutError:
                pass

    async def look(self) -> bool:
        """One look. Whether anything runs or is about to."""
        seen: dict[str, tuple[Platform, Sight]] = {}
        for platform in self._platforms.values():
            seen |= {name: (platform, sight) for name, sight in (await platform.observe()).items()}
        sights = {name: sight for name, (_, sight) in seen.items()}
        plan = await asyncio.to_thread(self._settler.settle, sights)
        for number in plan.changed:
            self._changed(number)
        for notice in plan.notices:
            self._notify(notice)
        await self._act(plan, seen)
        return bool(sights or plan.busy)

    async def _act(self, plan: Plan, seen: Mapping[str, tuple[Platform, Sight]]) -> None:
        for replica, drain in plan.stop.items():
            if replica in seen:
                await seen[replica][0].stop(replica, drain=drain)
        for replica in plan.forget:
            if replica in seen:
                await seen[replica][0].forget(replica)
        for platform, order in plan.start:
            await self._start(platform, order)

    async def _start(self, name: str, order: Order) -> None:
        """Begin a replica whose row is written; one that cannot begin has its row taken back."""
        try:
            await self._platforms[name].start(order)
        except NoRoom as error:
            await asyncio.to_thread(self._settler.refused, order, str(error))
        except (LanzaError, OSError) as error:
            log.warning("%s: a replica cannot be started: %s", order.endpoint, error)
            await asyncio.to_thread(self._settler.failed_to_start, order, str(error))


class _Folders(Folders):
    """Fetches folders beside the loop, each once; an error is told once, and then tried anew."""

    def __init__(self, pantry: Pantry) -> None:
        self._pantry = pantry
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[FolderKey, asyncio.Task[None]] = {}
        self.done: Callable[[], None] = lambda: None
        super().__init__()

    def request(self, key: FolderKey) -> None:
        self._loop.call_soon_threadsafe(self._begin, key)

    def _begin(self, key: FolderKey) -> None:
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._fetch(key))

    async def _fetch(self, key: FolderKey) -> None:
        try:
            self.ready[key] = await self._pantry.fetch(*key)
        except LanzaError as error:
            self.errors[key] = str(error)
        except Exception:
            log.exception("the files of repository %d at %s cannot be put into a folder", *key[:2])
            self.errors[key] = "its files cannot be read: the server's log says why"
        finally:
            del self._tasks[key]
            self.done()
