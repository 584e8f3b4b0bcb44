"""Endpoints as a part of the server: the Hub's models, the platforms that there are, the life of the loop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from lanza.auth.signing import load_key
from lanza.database import now
from lanza.endpoints import points
from lanza.endpoints.control import Control
from lanza.endpoints.lease import Lease
from lanza.endpoints.making import Maker
from lanza.endpoints.notices import Notice
from lanza.endpoints.platform import Platform
from lanza.endpoints.reconcile import Reconciler
from lanza.endpoints.secrets import Vault
from lanza.endpoints.webhooks import Webhooks, secret_of
from lanza.hub.hub import Hub
from lanza.server.folder import DataFolder
from lanza.server.leader import lead
from lanza.server.pantry import FolderPantry
from lanza.server.repositories import HubRepositories
from lanza.server.settings import ServerSettings

log: Final = logging.getLogger("lanza.server")

LEASE: Final = "endpoints"
TIDY_EVERY: Final = 600.0


class Endpoints:
    """`control` is for the API. `running` has the loop run, in one process of those that share a database."""

    def __init__(self, hub: Hub, settings: ServerSettings, platforms: Mapping[str, Platform]) -> None:
        self._hub = hub
        self._platforms = platforms
        folder = DataFolder(path=settings.data)
        key = load_key(folder.key)
        self._vault = Vault(key)
        self._webhooks = Webhooks(key, allowed=settings.webhooks_to)
        repositories = HubRepositories(hub)
        self._pantry = FolderPantry(hub, folder.models)
        self._reconciler: Reconciler | None = None
        self.control = Control(
            database=hub.database,
            vault=self._vault,
            platforms=platforms,
            repositories=repositories,
            maker=Maker(
                platforms=platforms,
                repositories=repositories,
                allowed=frozenset(settings.commands),
                rehearse=settings.rehearse,
            ),
            nudge=self.nudge,
            webhook_secret=partial(secret_of, key),
        )

    def nudge(self) -> None:
        """Have the loop look at once, if it runs here. May be called from any thread."""
        if (reconciler := self._reconciler) is not None:
            reconciler.nudge()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        lease = Lease(self._hub.database, LEASE, f"{os.getpid()}-{secrets.token_hex(4)}")
        leading = asyncio.create_task(lead(lease, self._look_after, sleep=asyncio.sleep))
        try:
            yield
        finally:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)
            await self._webhooks.close()
            for platform in self._platforms.values():
                await platform.close()

    async def _look_after(self) -> None:
        self._reconciler = Reconciler(
            database=self._hub.database,
            vault=self._vault,
            platforms=self._platforms,
            pantry=self._pantry,
            notify=self._tell,
            changed=lambda number: None,
        )
        try:
            async with asyncio.TaskGroup() as together:
                together.create_task(self._reconciler.run())
                together.create_task(self._tidy())
        finally:
            self._reconciler = None

    async def _tidy(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._pantry.tidy)
                await asyncio.to_thread(self._forget_points)
            except Exception:
                log.exception("what is old could not be tidied up; the next try is in %g s", TIDY_EVERY)
            await asyncio.sleep(TIDY_EVERY)

    def _forget_points(self) -> None:
        with self._hub.database.writing() as session:
            points.forget_old(session, now())

    def _tell(self, notice: Notice) -> None:
        log.warning("%s: %s: %s", notice.endpoint, notice.event, notice.message)
        self._webhooks.send(notice)
