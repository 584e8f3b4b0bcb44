"""A replica's answer passed on to the client: whole, or part by part as it comes.

What breaks off in the middle is ended so that nobody can take it for whole.
"""

from __future__ import annotations

import asyncio
import logging

from lanza.errors import Unavailable
from lanza.gateway import answers
from lanza.gateway.connection import Answer, Broken, Connection
from lanza.gateway.exchange import ClientGone, Exchange
from lanza.gateway.heads import answer_headers
from lanza.gateway.targets import Target
from lanza.gateway.tokens import StreamTokens, tokens_of

log = logging.getLogger("lanza.gateway")


async def pass_on(exchange: Exchange, answer: Answer) -> None:
    """A whole answer."""
    headers = answer_headers(answer.headers)
    if answer.body or not any(name == b"content-length" for name, _ in headers):
        headers = [pair for pair in headers if pair[0] != b"content-length"]
        if answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(answer.body)))
    exchange.tokens_in, exchange.tokens_out = tokens_of(answer.body)
    await exchange.answer(answer.status, headers, answer.body)


async def stream(
    exchange: Exchange,
    connection: Connection,
    answer: Answer,
    *,
    target: Target,
    patience: float,
    as_openai: bool,
) -> None:
    """An answer that has begun, part by part. Whoever is silent for too long ends it: the replica after its
    deadline, the client after `patience` seconds. ClientGone when it was cut.
    """
    events = any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in answer.headers
    )
    tokens = StreamTokens()
    try:
        await exchange.begin(answer.status, answer_headers(answer.headers))
        while True:
            async with asyncio.timeout(target.deadline):
                chunk = await connection.chunk()
            if chunk is None:
                break
            tokens.feed(chunk)
            async with asyncio.timeout(patience):
                await exchange.send(chunk, more=True)
    except (Broken, TimeoutError) as error:
        connection.abort()
        await _cut(exchange, target, error, events=events, as_openai=as_openai)
        return
    finally:
        exchange.tokens_in, exchange.tokens_out = tokens.result()
    exchange.unwatch()
    await exchange.send(b"")


async def _cut(
    exchange: Exchange, target: Target, error: Exception, *, events: bool, as_openai: bool
) -> None:
    """End an answer in the middle, so that it cannot be taken for whole."""
    log.warning("request %s: the answer of %s ended in the middle: %s", exchange.request_id.decode(),
                target.label, error or "nobody went on")  # fmt: skip
    exchange.failed = True
    exchange.unwatch()
    if events and isinstance(error, Broken):
        said = Unavailable(f"the replica of {target.label} ended in the middle of its answer: try again.")
        body = answers.rendered(exchange, said, as_openai=as_openai)
        await exchange.send(b"data: " + body + b"\n\n", more=True)
    raise ClientGone
