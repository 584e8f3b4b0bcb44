"""The replica's edge: bodies read within bounds, answers and errors written, one request id for each.

Plain ASGI, for this is what every request pays. An error is rendered here, once; what is not a `LanzaError`
is logged with the request id and answered as a 500 that tells nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lanza.engines.base import Chunks
from lanza.errors import BadRequest, EngineFailed, LanzaError, Overloaded, PayloadTooLarge, UnsupportedMedia

log = logging.getLogger("lanza.replica")

LINGER_BYTES: Final = 64 * 2**20
LINGER_SECONDS: Final = 2.0
"""How much of a body that was refused is read and thrown away, so that its sender gets to see the answer."""

_UNPRINTABLE: Final = re.compile(r"[^ -~]+")

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Endpoint = Callable[["Exchange"], Awaitable[None]]
RenderError = Callable[[LanzaError, str], bytes]


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers an address, and how its protocol writes errors."""

    endpoint: Endpoint
    render: RenderError


Routes = dict[str, dict[str, Route]]
"""Path to method to route."""


class Disconnected(Exception):
    """The client went away: nobody is there to be answered."""


class Budget:
    """How many bytes of bodies may be in memory at once, over all requests."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, count: int) -> None:
        if count > self._left:
            raise Overloaded("too many large bodies are being read at once: try again in a moment.")
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count


def header_text(text: str) -> bytes:
    """`text` as a header's value: one printable line that no proxy finds too long."""
    return _UNPRINTABLE.sub(" ", text)[:300].strip().encode("ascii")


class Exchange:
    """One request and its answer. `always` are headers that every answer carries.

    What the body takes of `budget` is given back by `close`.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, always: Headers, budget: Budget
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.started = time.perf_counter()
        self.status = 0
        self._always = always
        self._budget = budget
        self._held = 0
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.complete = False  # whether the whole body has been read
        given = self._headers.get(b"x-request-id", b"")
        self.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"

    def header(self, name: bytes) -> str:
        return self._headers.get(name, b"").decode("latin-1")

    async def body(self, limit: int) -> bytes:
        """The whole body. PayloadTooLarge as soon as it is known to be over `limit` bytes."""
        encoding = self.header(b"content-encoding")
        if encoding not in ("", "identity"):
            raise UnsupportedMedia(f"a body with Content-Encoding {encoding} is not read: send it plain.")
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size = 0
        while not self.complete:
            chunk = await self._chunk()
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            self._budget.take(len(chunk))
            self._held = size
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0

    async def _chunk(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self.complete = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        kind: bytes = b"application/json",
        headers: Headers | None = None,
    ) -> None:
        await self._start(status, kind, [(b"content-length", b"%d" % len(body)), *(headers or [])])
        if self.complete or self.scope["method"] in ("GET", "HEAD"):
            await self.send({"type": "http.response.body", "body": body})
            return
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        await self._linger()
        await self.send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        """Read on for a while: closing at once would reset the connection before the answer is seen."""
        left = LINGER_BYTES
        with suppress(Disconnected, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.complete:
                    left -= max(1, len(await self._chunk()))

    async def _start(self, status: int, kind: bytes, headers: Headers) -> None:
        every = [(b"content-type", kind), (b"x-request-id", self.request_id.encode()), *self._always]
        await self.send({"type": "http.response.start", "status": status, "headers": [*every, *headers]})
        self.status = status  # from here on, no other answer can be begun

    async def stream(self, events: Chunks) -> None:
        """Server-sent events, each flushed as it comes; `events` is closed at the end, whatever it is."""
        await self._start(200, b"text/event-stream; charset=utf-8", [(b"cache-control", b"no-cache")])
        async with aclosing(events):
            async for event in events:
                await self.send({"type": "http.response.body", "body": event, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def while_connected(self, doing: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
        """The result of `doing`, which is cancelled when the client goes away: then Disconnected.

        Only to be called once the body has been read.
        """
        task = asyncio.ensure_future(doing)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Disconnected
            return await task
        finally:
            gone.cancel()
            task.cancel()
            await asyncio.wait({task})

    async def _gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def refuse(self, error: LanzaError, render: RenderError) -> None:
        headers: Headers = []
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        if not self.complete and self.scope["method"] not in ("GET", "HEAD"):
            headers.append((b"connection", b"close"))
        status = error.status if error.status >= 400 else 500
        await self.answer(render(error, self.request_id), status=status, headers=headers)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body is larger than {limit / 2**20:g} MiB: send less, or serve with a larger --max-body."
    )


async def supervise(exchange: Exchange, endpoint: Endpoint, render: RenderError) -> None:
    """Run `endpoint`; whatever it raises becomes an answer, as long as none was begun."""
    try:
        await endpoint(exchange)
    except Disconnected:
        exchange.status = exchange.status or 499
    except LanzaError as error:
        await _refuse(exchange, error, render)
    except Exception as error:
        log.error("request %s failed", exchange.request_id, exc_info=error)
        await _refuse(
            exchange, EngineFailed("something failed here; the server's log has it by this id."), render
        )


async def _refuse(exchange: Exchange, error: LanzaError, render: RenderError) -> None:
    if exchange.status:
        log.warning("request %s failed after its answer had begun: %s", exchange.request_id, error)
        return
    if not isinstance(error, BadRequest):
        log.warning("request %s: %s %s", exchange.request_id, error.status, error)
    await exchange.refuse(error, render)
