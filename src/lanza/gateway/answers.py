"""Errors as answers, in the form of the protocol that is spoken: Hugging Face's, or below `/v1/` OpenAI's."""

from __future__ import annotations

import math

from lanza.errors import LanzaError, Unauthorized
from lanza.gateway.exchange import Exchange
from lanza.gateway.heads import Headers
from lanza.protocols import refusals

JSON = (b"content-type", b"application/json")


async def refuse(exchange: Exchange, error: LanzaError, *, as_openai: bool) -> None:
    """Answer with `error`. A client that has not sent all of its body is not listened to any longer."""
    body = rendered(exchange, error, as_openai=as_openai)
    headers: Headers = [JSON, (b"content-length", b"%d" % len(body))]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="Lanza"'))
    if not exchange.whole and exchange.method not in ("GET", "HEAD"):
        headers.append((b"connection", b"close"))
    await exchange.answer(error.status if error.status >= 400 else 500, headers, body)


def rendered(exchange: Exchange, error: LanzaError, *, as_openai: bool) -> bytes:
    """The error as JSON."""
    encode = refusals.openai if as_openai else refusals.huggingface
    return encode(error, exchange.request_id.decode())
