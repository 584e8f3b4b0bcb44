"""The service of a handler: the user's own code behind `/` and `/predict`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from lanza.engines.base import HandlerEngine, HandlerRequest
from lanza.errors import BadRequest
from lanza.protocols import huggingface
from lanza.protocols.media import sniff
from lanza.replica.batcher import too_late
from lanza.replica.http import Exchange, Route, Routes
from lanza.replica.spec import Limits


class HandlerService:
    """Decodes bodies as Hugging Face's toolkit does and passes them to the handler's process."""

    def __init__(self, engine: HandlerEngine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self.waiting = 0
        self.running = 0
        predict = {"POST": Route(self.predict, huggingface.encode_error)}
        self.routes: Routes = {"/": predict, "/predict": predict}

    async def predict(self, exchange: Exchange) -> None:
        body = await exchange.body(self._limits.body_bytes)
        request = decode(
            body, exchange.header(b"content-type"), exchange.header(b"accept"), exchange.scope["query_string"]
        )
        request = replace(request, patience=self._limits.deadline)
        self.running += 1
        try:
            await exchange.while_connected(self._answer(exchange, request))
        finally:
            self.running -= 1

    async def _answer(self, exchange: Exchange, request: HandlerRequest) -> None:
        try:
            async with asyncio.timeout(self._limits.deadline):
                answer = await self._engine.call(request)
        except TimeoutError:
            raise too_late(self._limits.deadline) from None
        if answer.chunks is not None:
            await exchange.stream(answer.chunks)
        else:
            await exchange.answer(answer.body, kind=answer.content_type.encode())

    async def close(self) -> None:
        """Nothing waits here: uvicorn has let the last answers end."""


def decode(body: bytes, content_type: str, accept: str, query: bytes) -> HandlerRequest:
    """JSON becomes the dict that the handler gets; anything else is passed on as `{"inputs": bytes}`.

    Query parameters become `parameters` when the body has none, as in the toolkit.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        kind = sniff(body) or (huggingface.JSON if body.lstrip()[:1] in (b"{", b"[") else kind)
    if kind and kind != huggingface.JSON:
        return HandlerRequest(data=body, content_type=kind, accept=accept)
    data: Any = huggingface.decode_json(body, dict, hint='send JSON such as {"inputs": ...}')
    if "parameters" not in data and (given := dict(parse_qsl(query.decode("latin-1")))):
        data["parameters"] = {name: _number(value) for name, value in given.items()}
    if "inputs" not in data and "instances" not in data:
        raise BadRequest('the body has no `inputs`: send JSON such as {"inputs": ...}')
    return HandlerRequest(data=data, content_type=huggingface.JSON, accept=accept)


def _number(text: str) -> Any:
    """Query strings know only text: numbers, booleans and null are read as JSON has them."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
