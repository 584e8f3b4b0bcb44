"""The way of a request to a replica: whether it is let in, its body, the cache, the replica.

Nothing of the body is read before it is known that the caller may call, and is within the limits.
"""

from __future__ import annotations

from lanza.errors import Unavailable
from lanza.gateway import cors
from lanza.gateway.addresses import Address
from lanza.gateway.cache import ResponseCache, wants_anew
from lanza.gateway.callers import Callers
from lanza.gateway.exchange import Exchange
from lanza.gateway.forwarding import Forwarder
from lanza.gateway.holding import check_awaited
from lanza.gateway.limits import Limits
from lanza.gateway.meter import Meter, Tally
from lanza.gateway.metrics import Metrics
from lanza.gateway.settings import REPLAYED
from lanza.gateway.targets import Target


class Service:
    """Belongs to one event loop."""

    def __init__(
        self,
        *,
        callers: Callers,
        limits: Limits,
        cache: ResponseCache,
        forwarder: Forwarder,
        meter: Meter,
        metrics: Metrics,
    ) -> None:
        self._callers = callers
        self._limits = limits
        self._cache = cache
        self._forwarder = forwarder
        self._meter = meter
        self._metrics = metrics

    async def serve(self, exchange: Exchange, target: Target, address: Address) -> None:
        named = exchange.named
        exchange.metrics = self._metrics.of(target.key)
        origin = named.get(b"origin")
        if origin is not None:
            bearer = named.get(b"authorization", b"")[:7].lower() == b"bearer "
            proven = bearer and not exchange.caller.anonymous
            exchange.more = cors.allowed(target, origin, named.get(b"host", b""), proven=proven)
        exchange.page = address.path == b"/docs" and exchange.method in ("GET", "HEAD")
        self._callers.check(exchange)(target)
        tally = self._meter.of(target)
        looks = only_looks(exchange, address)
        if not looks:
            self._limits.check(target, exchange.token or exchange.client, tally)
            tally.open += 1
        try:
            if not exchange.whole:
                await exchange.read(REPLAYED)
            if exchange.whole:
                exchange.watch()
            if looks and not target.places:
                check_awaited(target)
                raise Unavailable(f"{target.label} has no replica ready: it is {target.state}.")
            await self._forward(exchange, target, address, tally)
        finally:
            if not looks:
                tally.open -= 1
                exchange.tally = tally

    async def _forward(self, exchange: Exchange, target: Target, address: Address, tally: Tally) -> None:
        cached = target.cached and not only_looks(exchange, address)
        key = self._cache.key(target, exchange, address.path) if cached else None
        if key is not None and not wants_anew(exchange) and (kept := self._cache.find(key)) is not None:
            assert exchange.metrics is not None
            exchange.metrics.cached.inc()
            length = (b"content-length", b"%d" % len(kept.body))
            await exchange.answer(200, [*kept.headers, length, (b"x-lanza-cache", b"hit")], kept.body)
            return
        answer = await self._forwarder.serve(exchange, target, address, tally)
        if key is not None and answer is not None:
            self._cache.keep(key, answer, exchange.revision)


def only_looks(exchange: Exchange, address: Address) -> bool:
    """Whether this asks for a replica's health: that starts none, keeps none awake, counts against no limit
    and is never remembered."""
    return address.path == b"/health" and exchange.method in ("GET", "HEAD")
