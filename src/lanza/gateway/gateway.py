"""The gateway as an ASGI application: in front of the Hub, for every address of an endpoint.

    address → target → who calls → limits → body → cache → replica → answer → meter

It is plain ASGI, since this is what every request for an answer pays. It is a supervisor: what is raised on
the way becomes an answer in the protocol's form, and what nobody can name is logged by the request's id. What
it does not take goes on to the application behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError

from lanza.database import Database
from lanza.errors import (
    EngineFailed,
    LanzaError,
    NotYet,
    Unavailable,
)
from lanza.gateway.addresses import Address, read_address
from lanza.gateway.answers import refuse
from lanza.gateway.cache import ResponseCache
from lanza.gateway.callers import Authenticator, Callers
from lanza.gateway.connections import Connections
from lanza.gateway.directory import Directory, Serverless
from lanza.gateway.exchange import Budget, ClientGone, Exchange, Receive, Scope, Send
from lanza.gateway.fleet import Connect, Fleets
from lanza.gateway.forwarding import Forwarder
from lanza.gateway.holding import Holding
from lanza.gateway.ledger import Ledger
from lanza.gateway.limits import Limits
from lanza.gateway.meter import Meter
from lanza.gateway.metrics import Metrics
from lanza.gateway.recorder import Recorder
from lanza.gateway.routes import Routes
from lanza.gateway.service import Service
from lanza.gateway.settings import GatewaySettings
from lanza.gateway.table import RouteTable

log = logging.getLogger("lanza.gateway")

GONE: Final = 499
"""What is counted when the client has gone before it was answered, as nginx has it."""


class Gateway:
    """`app` gets what is not for endpoints. Call `start` and `close` on its event loop.

    `nudge` tells the control plane that an endpoint was woken. `trust` takes client and scheme from a proxy
    that is believed, and changes the scope. What is counted is in `registry`. `connect` is how replicas are
    reached, if not by sockets.
    """

    def __init__(
        self,
        app: Any,
        *,
        database: Database,
        authenticator: Authenticator,
        settings: GatewaySettings,
        nudge: Callable[[], None],
        registry: CollectorRegistry,
        serverless: Serverless | None = None,
        trust: Callable[[Scope], None] | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._nudge = nudge
        self._trust = trust
        self._ledger = Ledger(database, worker=settings.worker)
        self._fleets = Fleets(connect or partial(Connections, connect_timeout=settings.connect_timeout))
        self.table = RouteTable(self._ledger.targets)
        self._holding = Holding(
            table=self.table, fleets=self._fleets, wake=self._wake, most=settings.most_held
        )
        self._forwarder = Forwarder(fleets=self._fleets, holding=self._holding, settings=settings)
        self._cache = ResponseCache(most_bytes=settings.cache_bytes)
        self._budget = Budget(settings.bodies_bytes)
        self._meter = Meter()
        self.metrics = Metrics(registry)
        callers = Callers(authenticator, self._ledger, internal=settings.internal)
        self._routes = Routes(
            table=self.table,
            directory=Directory(table=self.table, lookups=self._ledger, serverless=serverless),
            callers=callers,
            routed_bytes=settings.routed_bytes,
        )
        self._service = Service(
            callers=callers,
            limits=Limits(workers=settings.workers),
            cache=self._cache,
            forwarder=self._forwarder,
            meter=self._meter,
            metrics=self.metrics,
        )
        self._recorder = Recorder(self._meter, self._ledger, beside=self._fleets.sweep)

    # Its life

    async def start(self) -> None:
        await self._recorder.start()

    async def close(self) -> None:
        """Write what is left, and let go of replicas."""
        await self._recorder.close()
        await self.table.close()
        self._fleets.close()
        self._ledger.close()

    async def _wake(self, endpoint_id: int) -> None:
        try:
            woken = await self._ledger.wake(endpoint_id)
        except SQLAlchemyError as error:
            log.warning("endpoint %d could not be woken: %s", endpoint_id, error)
            raise Unavailable("the server's database is busy or away: try again in a moment.") from error
        if woken:
            self._nudge()

    # A request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = read_address(scope.get("raw_path") or scope["path"].encode(), scope["method"])
            if address is not None:
                await self._supervise(address, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _supervise(self, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trust is not None:
            self._trust(scope)
        exchange = Exchange(scope, receive, send, budget=self._budget, patience=self._settings.client_timeout)
        try:
            await self._answer(exchange, address)
        except LanzaError as error:
            await self._refuse(exchange, address, error)
        except ClientGone:
            exchange.status = exchange.status or GONE
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not exchange.gone or task is None:
                raise
            task.uncancel()
            exchange.status = exchange.status or GONE
        except SQLAlchemyError as error:
            log.warning("request %s: the database: %s", exchange.request_id.decode(), error)
            away = Unavailable("the server's database is busy or away: try again in a moment.")
            await self._refuse(exchange, address, away)
        except Exception as error:
            log.error("request %s failed", exchange.request_id.decode(), exc_info=error)
            text = f"something failed here; the server's log has it by {exchange.request_id.decode()}."
            await self._refuse(exchange, address, EngineFailed(text))
        finally:
            exchange.close()
            self._count(exchange)

    async def _refuse(self, exchange: Exchange, address: Address, error: LanzaError) -> None:
        exchange.unwatch()
        if exchange.status:
            log.warning(
                "request %s failed in the middle of its answer: %s", exchange.request_id.decode(), error
            )
            return
        if error.status >= 500:
            log.warning("request %s: %s %s", exchange.request_id.decode(), error.status, error)
        await refuse(exchange, error, as_openai=address.openai)

    async def _answer(self, exchange: Exchange, address: Address) -> None:
        if exchange.named.get(b"upgrade", b"").lower() == b"websocket":
            raise NotYet("WebSockets are not passed on to endpoints: use server-sent events.")
        target = await self._routes.target(exchange, address)
        if target is not None:
            await self._service.serve(exchange, target, address)

    def _count(self, exchange: Exchange) -> None:
        seconds = exchange.seconds
        metrics = exchange.metrics or self.metrics.of("none")
        metrics.request(exchange.status, seconds, exchange.first_byte)
        if exchange.cold:
            metrics.cold.observe(exchange.cold)
        if exchange.tokens_in or exchange.tokens_out:
            metrics.tokens_in.inc(exchange.tokens_in)
            metrics.tokens_out.inc(exchange.tokens_out)
        tally = exchange.tally
        if tally is None:
            return
        at = self._meter.clock()
        tally.last_request = at
        tally.count(
            at,
            exchange.token,
            seconds=seconds,
            failed=exchange.failed or exchange.status >= 500,
            tokens_in=exchange.tokens_in,
            tokens_out=exchange.tokens_out,
        )
