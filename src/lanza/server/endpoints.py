"""Endpoints as a part of the server: the Hub's models, the platforms that there are, the gateway, the loop.

The model: `Endpoints` is made before there is an event loop, and `running` gives it life on one. Of the
processes that share a database, the one with the lease looks after endpoints; all carry requests and take
wishes. A wish is in the database before anybody is told of it, so whoever is not told sees it a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from lanza.auth.audit import Trail
from lanza.auth.signing import load_key
from lanza.auth.tokens import Authenticator
from lanza.database import now
from lanza.endpoints import points, store
from lanza.endpoints.control import Control
from lanza.endpoints.lease import Lease
from lanza.endpoints.making import Maker
from lanza.endpoints.notices import Notice
from lanza.endpoints.platform import Platform
from lanza.endpoints.reconcile import Reconciler
from lanza.endpoints.secrets import Vault
from lanza.endpoints.webhooks import Webhooks, secret_of
from lanza.gateway.gateway import Gateway
from lanza.gateway.settings import GatewaySettings
from lanza.hub.hub import Hub
from lanza.server.colleagues import LOOK, Colleagues
from lanza.server.edge import believe_proxy
from lanza.server.folder import DataFolder
from lanza.server.importer import Importer
from lanza.server.leader import lead
from lanza.server.pantry import FolderPantry
from lanza.server.repositories import HubRepositories
from lanza.server.settings import ServerSettings

log: Final = logging.getLogger("lanza.server")

LEASE: Final = "endpoints"
TIDY_EVERY: Final = 600.0


class Endpoints:
    """`control` is for the API, `gateway` goes in front of it all. `importer` brings what is not here."""

    def __init__(
        self,
        hub: Hub,
        settings: ServerSettings,
        platforms: Mapping[str, Platform],
        importer: Importer | None = None,
        colleagues: Colleagues | None = None,
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._platforms = platforms
        self._importer = importer
        self._colleagues = colleagues
        self._worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        folder = DataFolder(path=settings.data)
        key = load_key(folder.key)
        bring = None if importer is None else importer.bring
        self._vault = Vault(key)
        self._webhooks = Webhooks(key, allowed=settings.webhooks_to)
        self._pantry = FolderPantry(hub, folder.models, bring=bring)
        weigh = None if importer is None else importer.weigh
        repositories = HubRepositories(hub, bring=bring, weigh=weigh)
        maker = Maker(
            platforms=platforms,
            repositories=repositories,
            allowed=frozenset(settings.commands),
            rehearse=settings.rehearse,
        )
        self.control = Control(
            database=hub.database,
            vault=self._vault,
            platforms=platforms,
            repositories=repositories,
            maker=maker,
            changed=self._wished,
            webhook_secret=partial(secret_of, key),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gateway: Gateway | None = None
        self._reconciler: Reconciler | None = None

    def gateway(self, app: ASGIApp, authenticator: Authenticator, registry: CollectorRegistry) -> ASGIApp:
        """`app` behind the addresses of endpoints, which are counted in `registry`."""
        self._gateway = Gateway(
            app,
            database=self._hub.database,
            authenticator=authenticator,
            settings=GatewaySettings(
                worker=self._worker, workers=self._settings.workers, internal=self._settings.internal
            ),
            nudge=self._woken,
            registry=registry,
            serverless=self._start_for,
            trust=self._trust,
        )
        return self._gateway

    def replicas(self) -> Mapping[tuple[str, str], int]:
        """How many replicas there are, by endpoint and phase."""
        with self._hub.database.reading() as session:
            return store.count_replicas(session)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From a server's start to its end, on its event loop."""
        self._loop = asyncio.get_running_loop()
        if self._importer is not None:
            self._importer.begin()
        if self._gateway is not None:
            await self._gateway.start()
        if self._colleagues is not None:
            self._colleagues.listen(self._heard_on_thread)
        lease = Lease(self._hub.database, LEASE, self._worker)
        leading = asyncio.create_task(lead(lease, self._look_after, sleep=asyncio.sleep))
        try:
            yield
        finally:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)
            if self._gateway is not None:
                await self._gateway.close()
            await self._webhooks.close()
            for platform in self._platforms.values():
                await platform.close()

    # Who is told what

    def _wished(self, endpoint_id: int) -> None:
        """Somebody has changed an endpoint. On any thread."""
        self._heard_on_thread(endpoint_id)
        self._tell(endpoint_id)

    def _heard_on_thread(self, endpoint_id: int) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._heard, endpoint_id)

    def _heard(self, endpoint_id: int) -> None:
        """An endpoint was changed here or elsewhere."""
        if self._gateway is not None and endpoint_id != LOOK:
            self._gateway.table.changed(endpoint_id)
        self._look()

    def _seen(self, endpoint_id: int) -> None:
        """The loop, which runs here, has changed an endpoint."""
        if self._gateway is not None:
            self._gateway.table.changed(endpoint_id)
        self._tell(endpoint_id)

    def _woken(self) -> None:
        """The gateway has woken an endpoint."""
        self._look()
        self._tell(LOOK)

    def _tell(self, endpoint_id: int) -> None:
        if self._colleagues is not None:
            self._colleagues.tell(endpoint_id)

    def _look(self) -> None:
        if self._reconciler is not None:
            self._reconciler.nudge()

    async def _start_for(self, trail: Trail, repo_id: str) -> int:
        return await run_in_threadpool(self.control.for_repository, trail, repo_id)

    def _trust(self, scope: Scope) -> None:
        believe_proxy(scope, Headers(scope=scope), self._settings.proxies)

    # While the lease is held

    async def _look_after(self) -> None:
        self._reconciler = Reconciler(
            database=self._hub.database,
            vault=self._vault,
            platforms=self._platforms,
            pantry=self._pantry,
            notify=self._notify,
            changed=self._seen,
        )
        for platform in self._platforms.values():
            platform.listen(self._look)
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

    def _notify(self, notice: Notice) -> None:
        log.warning("%s: %s: %s", notice.endpoint, notice.event, notice.message)
        self._webhooks.send(notice)
