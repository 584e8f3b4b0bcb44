"""From an address to the endpoint that is meant, once it is known who calls.

The model: a name, the `model` of a body, or a repository leads to a target. What needs no replica (a list of
models, a page of another site that asks beforehand) is answered here.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

import msgspec

from lanza.endpoints.spec import Security
from lanza.errors import BadRequest, MethodNotAllowed, NotFound, PayloadTooLarge, Unauthorized
from lanza.gateway import cors
from lanza.gateway.addresses import Address, Means
from lanza.gateway.answers import JSON
from lanza.gateway.callers import Callers
from lanza.gateway.directory import Directory
from lanza.gateway.exchange import Exchange
from lanza.gateway.table import RouteTable
from lanza.gateway.targets import Target


class _Named(msgspec.Struct):
    model: str


_MODEL: Final = msgspec.json.Decoder(_Named)


class Routes:
    """`routed_bytes` bounds a body that has to be read whole because it says which model is meant."""

    def __init__(
        self, *, table: RouteTable, directory: Directory, callers: Callers, routed_bytes: int
    ) -> None:
        self._table = table
        self._directory = directory
        self._callers = callers
        self._routed_bytes = routed_bytes

    async def target(self, exchange: Exchange, address: Address) -> Target | None:
        """The endpoint that is to answer; None when it was answered here. Errors of the tree."""
        match address.means:
            case Means.NAME:
                return await self._by_name(exchange, address)
            case Means.MODEL:
                return await self._by_model(exchange)
            case Means.REPOSITORY:
                return await self._by_repository(exchange, address)
            case Means.MODELS:
                await self._models(exchange, address)
                return None
            case _:
                raise NotFound(
                    "there is nothing at this address: below /v1 there are chat/completions, completions, "
                    "embeddings, moderations and models."
                )

    async def _by_name(self, exchange: Exchange, address: Address) -> Target | None:
        target = self._table.young(address.what) or await self._table.get(address.what)
        if target is None:
            raise NotFound(f"there is no endpoint {address.what}: `lanza ps` lists those that there are.")
        origin = exchange.named.get(b"origin")
        if origin is not None and _is_preflight(exchange):
            await self._preflight(exchange, target, origin)
            return None
        await self._callers.identify(exchange, needed=target.security is not Security.PUBLIC)
        return target

    async def _by_model(self, exchange: Exchange) -> Target:
        if exchange.method != "POST":
            raise MethodNotAllowed("this address takes POST.")
        await self._callers.identify(exchange, needed=False)
        if not await exchange.read(self._routed_bytes):
            raise PayloadTooLarge(
                f"a body that names its model has up to {self._routed_bytes >> 20} MiB: send more "
                "to the endpoint's own address."
            )
        try:
            model = _MODEL.decode(exchange.body).model
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise BadRequest(
                "`model` is missing: name an endpoint (namespace/name) or its repository."
            ) from None
        check = self._callers.check(exchange)
        return await _unless_refused(exchange, self._directory.by_model(model, exchange.caller, check))

    async def _by_repository(self, exchange: Exchange, address: Address) -> Target:
        if exchange.method != "POST":
            raise MethodNotAllowed(
                "this address takes POST, and no pages of other sites: call the endpoint's own."
            )
        await self._callers.identify(exchange, needed=False)
        check = self._callers.check(exchange)
        found = self._directory.by_repository(address.what, exchange.trail, check)
        return await _unless_refused(exchange, found)

    async def _models(self, exchange: Exchange, address: Address) -> None:
        if exchange.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("this address takes GET.")
        await self._callers.identify(exchange, needed=False)
        if address.what:
            check = self._callers.check(exchange)
            found = self._directory.by_model(address.what, exchange.caller, check)
            target = await _unless_refused(exchange, found)
            body = msgspec.json.encode(_entry(target))
        else:
            listed = await self._directory.listed(self._callers.check(exchange))
            if not listed and exchange.refused is not None:
                raise exchange.refused
            body = msgspec.json.encode({"object": "list", "data": [_entry(it) for it in listed]})
        await exchange.answer(200, [JSON, (b"content-length", b"%d" % len(body))], body)

    async def _preflight(self, exchange: Exchange, target: Target, origin: bytes) -> None:
        named = exchange.named
        asked = named.get(b"access-control-request-headers", b"")
        headers = cors.preflight(target, origin, named.get(b"host", b""), asked)
        await exchange.answer(204, headers, b"")


async def _unless_refused(exchange: Exchange, finding: Awaitable[Target]) -> Target:
    """What is found. If that is nothing, and the token was wrong, it is the token that is to be put right."""
    try:
        return await finding
    except (NotFound, Unauthorized):
        if exchange.refused is not None:
            raise exchange.refused from None
        raise


def _is_preflight(exchange: Exchange) -> bool:
    return exchange.method == "OPTIONS" and b"access-control-request-method" in exchange.named


def _entry(target: Target) -> dict[str, Any]:
    """A model in OpenAI's list."""
    created = int(target.created_at.timestamp())
    return {"id": target.label, "object": "model", "created": created, "owned_by": target.namespace}
