"""Errors as answers, in the form of the protocol that is spoken: Hugging Face's, or below `/v1/` OpenAI's."""

from __future__ import annotations

import math

from lanza.errors import LanzaError, Unauthorized
from lanza.gateway.exchange import Exchange
from lanza.gateway.heads import Headers
from lanza.protocols import refusals

JSON = (b"content-type", b"application/json")


async def refuse(exchange: Exchange, error: LanzaError, *, as_openai: bool) -> None:
    """Answer with `error`. Who has not sent all of a body is listened to for a moment more, and no longer."""
    body = rendered(exchange, error, as_openai=as_openai)
    headers: Headers = [JSON, (b"content-length", b"%d" % len(body))]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", _asked(exchange)))
    status = error.status if error.status >= 400 else 500
    if exchange.whole or exchange.method in ("GET", "HEAD"):
        await exchange.answer(status, headers, body)
        return
    exchange.unwatch()
    await exchange.begin(status, [*headers, (b"connection", b"close")])
    await exchange.send(body, more=True)
    await exchange.linger()
    await exchange.send(b"")


def _asked(exchange: Exchange) -> bytes:
    """What a caller without a token is asked for: a browser that opens a page can only ask for a password."""
    if exchange.named.get(b"sec-fetch-mode") == b"navigate":
        return b'Basic realm="Lanza: your name, and a token as password"'
    return b'Bearer realm="Lanza"'


def rendered(exchange: Exchange, error: LanzaError, *, as_openai: bool) -> bytes:
    """The error as JSON."""
    encode = refusals.openai if as_openai else refusals.huggingface
    return encode(error, exchange.request_id.decode())
