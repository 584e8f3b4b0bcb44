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
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from lanza.auth.principal import ANONYMOUS, Principal
from lanza.database import Database
from lanza.endpoints.spec import Security
from lanza.errors import (
    BadRequest,
    EngineFailed,
    Forbidden,
    LanzaError,
    MethodNotAllowed,
    NotFound,
    NotYet,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
)
from lanza.gateway import cors
from lanza.gateway.access import check_caller
from lanza.gateway.addresses import Address, Means, read_address
from lanza.gateway.answers import JSON, refuse
from lanza.gateway.cache import ResponseCache
from lanza.gateway.connections import Connections
from lanza.gateway.directory import Directory, Serverless
from lanza.gateway.exchange import Budget, ClientGone, Exchange, Receive, Scope, Send
from lanza.gateway.fleet import Connect, Fleets
from lanza.gateway.forwarding import Forwarder
from lanza.gateway.holding import Holding, check_awaited
from lanza.gateway.ledger import Ledger
from lanza.gateway.limits import Limits
from lanza.gateway.meter import Meter, Tally
from lanza.gateway.metrics import Metrics
from lanza.gateway.settings import REPLAYED, GatewaySettings
from lanza.gateway.table import RouteTable
from lanza.gateway.targets import Target

log = logging.getLogger("lanza.gateway")

WRITE_EVERY: Final = 1.0
GONE: Final = 499
"""What is counted when the client has gone before it was answered, as nginx has it."""


class Authenticator(Protocol):
    """Who shows a token (`lanza.auth.tokens`)."""

    def known(self, authorization: str) -> Principal | None:
        """At once, if it was asked a moment ago."""
        ...

    def principal(self, authorization: str | None) -> Principal:
        """By asking the database. Unauthorized."""
        ...


class _Named(msgspec.Struct):
    model: str


_MODEL: Final = msgspec.json.Decoder(_Named)


class Gateway:
    """`app` gets what is not for endpoints. Call `start` and `close` on its event loop.

    `nudge` tells the control plane that an endpoint was woken. `trust` takes client and scheme from a proxy
    that is believed, and changes the scope. `connect` is how replicas are reached, if not by sockets.
    """

    def __init__(
        self,
        app: Any,
        *,
        database: Database,
        authenticator: Authenticator,
        settings: GatewaySettings,
        nudge: Callable[[], None],
        serverless: Serverless | None = None,
        trust: Callable[[Scope], None] | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._settings = settings
        self._nudge = nudge
        self._trust = trust
        self._ledger = Ledger(database, worker=settings.worker)
        self._fleets = Fleets(connect or partial(Connections, connect_timeout=settings.connect_timeout))
        self.table = RouteTable(self._ledger.targets)
        self._holding = Holding(
            table=self.table, fleets=self._fleets, wake=self._wake, most=settings.most_held
        )
        self._directory = Directory(table=self.table, lookups=self._ledger, serverless=serverless)
        self._forwarder = Forwarder(fleets=self._fleets, holding=self._holding, settings=settings)
        self._limits = Limits(workers=settings.workers)
        self._cache = ResponseCache(most_bytes=settings.cache_bytes)
        self._budget = Budget(settings.bodies_bytes)
        self._meter = Meter()
        self._open = 0
        self.metrics = Metrics(
            held=lambda: self._holding.held,
            in_flight=lambda: self._open,
            retries=lambda: self._forwarder.retries,
        )
        self._writer: asyncio.Task[None] | None = None
        self._reported = False

    # Its life

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._write_again_and_again())

    async def close(self) -> None:
        """Write what is left, and let go of replicas."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})
        await self._write()
        await self.table.close()
        self._fleets.close()
        self._ledger.close()

    async def _write_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            await self._write()
            self._fleets.sweep()

    async def _write(self) -> None:
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
        except asyncio.CancelledError:
            self._meter.put_back(batch)
            raise
        else:
            self._reported = bool(batch.pending)

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
        self._open += 1
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
            self._open -= 1
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
        match address.means:
            case Means.NAME:
                await self._by_name(exchange, address)
            case Means.MODEL:
                await self._by_model(exchange, address)
            case Means.REPOSITORY:
                await self._by_repository(exchange, address)
            case Means.MODELS:
                await self._models(exchange, address)
            case _:
                raise NotFound(
                    "there is nothing at this address: below /v1 there are chat/completions, completions, "
                    "embeddings, moderations and models."
                )

    async def _by_name(self, exchange: Exchange, address: Address) -> None:
        target = self.table.young(address.what) or await self.table.get(address.what)
        if target is None:
            raise NotFound(f"there is no endpoint {address.what}: `lanza ps` lists those that there are.")
        origin = exchange.named.get(b"origin")
        if origin is not None and self._is_preflight(exchange):
            await self._preflight(exchange, target, origin)
            return
        await self._identify(exchange, needed=target.security is not Security.PUBLIC)
        await self._serve(exchange, target, address)

    async def _by_model(self, exchange: Exchange, address: Address) -> None:
        if exchange.method != "POST":
            raise MethodNotAllowed("this address takes POST.")
        await self._identify(exchange, needed=False)
        if not await exchange.read(self._settings.routed_bytes):
            raise PayloadTooLarge(
                f"a body that names its model has up to {self._settings.routed_bytes >> 20} MiB: send more "
                "to the endpoint's own address."
            )
        try:
            model = _MODEL.decode(exchange.body).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BadRequest(
                "`model` is missing: name an endpoint (namespace/name) or its repository."
            ) from None
        target = await self._directory.by_model(model, exchange.caller, self._check(exchange))
        await self._serve(exchange, target, address)

    async def _by_repository(self, exchange: Exchange, address: Address) -> None:
        if exchange.method != "POST":
            raise MethodNotAllowed(
                "this address takes POST, and no pages of other sites: call the endpoint's own."
            )
        await self._identify(exchange, needed=False)
        target = await self._directory.by_repository(address.what, exchange.trail, self._check(exchange))
        await self._serve(exchange, target, address)

    async def _models(self, exchange: Exchange, address: Address) -> None:
        if exchange.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("this address takes GET.")
        await self._identify(exchange, needed=False)
        if address.what:
            target = await self._directory.by_model(address.what, exchange.caller, self._check(exchange))
            body = msgspec.json.encode(_entry(target))
        else:
            listed = await self._directory.listed(self._check(exchange))
            body = msgspec.json.encode({"object": "list", "data": [_entry(it) for it in listed]})
        await exchange.answer(200, [JSON, (b"content-length", b"%d" % len(body))], body)

    # Who

    async def _identify(self, exchange: Exchange, *, needed: bool) -> None:
        """Find out who calls. A token that is not good is nobody's, where none is needed."""
        given = exchange.named.get(b"authorization")
        if given is None:
            return
        text = given.decode("latin-1")
        if exchange.named.get(b"sec-fetch-site") == b"cross-site" and text[:5].lower() == "basic":
            raise Forbidden("a page of another site may call nothing here with your password.")
        caller = self._authenticator.known(text)
        if caller is None:
            try:
                caller = await self._ledger.on_thread(self._authenticator.principal, text)
            except Unauthorized:
                if needed:
                    raise
                caller = ANONYMOUS
        exchange.caller = caller
        if not caller.anonymous:
            exchange.token = f"{caller.name}/{caller.token_name}"

    def _check(self, exchange: Exchange) -> Callable[[Target], None]:
        return lambda target: check_caller(target, exchange.caller, exchange.client, self._settings.internal)

    def _is_preflight(self, exchange: Exchange) -> bool:
        return exchange.method == "OPTIONS" and b"access-control-request-method" in exchange.named

    async def _preflight(self, exchange: Exchange, target: Target, origin: bytes) -> None:
        named = exchange.named
        asked = named.get(b"access-control-request-headers", b"")
        headers = cors.preflight(target, origin, named.get(b"host", b""), asked)
        await exchange.answer(204, headers, b"")

    # The way to a replica

    async def _serve(self, exchange: Exchange, target: Target, address: Address) -> None:
        named = exchange.named
        exchange.metrics = self.metrics.of(target.key)
        origin = named.get(b"origin")
        if origin is not None:
            exchange.more = cors.allowed(target, origin, named.get(b"host", b""))
        check_caller(target, exchange.caller, exchange.client, self._settings.internal)
        tally = self._meter.of(target)
        self._limits.check(target, exchange.token or exchange.client, tally)
        tally.open += 1
        try:
            if not exchange.whole:
                await exchange.read(REPLAYED)
            if exchange.whole:
                exchange.watch()
            if _only_looks(exchange, address) and not target.places:
                check_awaited(target)
                raise Unavailable(f"{target.label} has no replica ready: it is {target.state}.")
            await self._forward(exchange, target, address, tally)
        finally:
            tally.open -= 1
            if not _only_looks(exchange, address):
                exchange.tally = tally

    async def _forward(self, exchange: Exchange, target: Target, address: Address, tally: Tally) -> None:
        key = self._cache.key(target, exchange, address.path) if target.cached else None
        if key is not None and (kept := self._cache.find(key)) is not None:
            assert exchange.metrics is not None
            exchange.metrics.cached.inc()
            length = (b"content-length", b"%d" % len(kept.body))
            await exchange.answer(200, [*kept.headers, length, (b"x-lanza-cache", b"hit")], kept.body)
            return
        answer = await self._forwarder.serve(exchange, target, address, tally)
        if key is not None and answer is not None:
            self._cache.keep(key, answer)

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


def _only_looks(exchange: Exchange, address: Address) -> bool:
    """Whether this asks for a replica's health: that starts none, and keeps none awake."""
    return address.path == b"/health" and exchange.method in ("GET", "HEAD")


def _entry(target: Target) -> dict[str, Any]:
    """A model in OpenAI's list."""
    created = int(target.created_at.timestamp())
    return {"id": target.label, "object": "model", "created": created, "owned_by": target.namespace}
