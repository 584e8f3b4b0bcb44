"""One request and its answer, between the client and the gateway. Plain ASGI, for every request pays for it.

The body is read up to a bound and kept, so that it can be sent again; what is longer is passed on as it
comes. While an answer is made, somebody has to notice when the client goes away: that begins only after a
moment, for most answers are there sooner.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

from lanza.auth.audit import Trail
from lanza.auth.principal import ANONYMOUS, Principal
from lanza.errors import BadRequest, Overloaded, Unauthorized
from lanza.gateway.heads import ALWAYS, PAGE, Headers
from lanza.gateway.meter import Tally
from lanza.gateway.metrics import EndpointMetrics

LOOK_AFTER: Final = 0.25
"""Seconds until a client is watched: it takes a task, and a busy replica answers most requests before."""
LINGER_BYTES: Final = 64 * 2**20
LINGER_SECONDS: Final = 2.0
"""How much of a body that was refused is read and thrown away, so that its sender gets to see the answer."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:=-]{1,128}")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGone(Exception):
    """Nobody is there to be answered."""


class Budget:
    """How many bytes of bodies may be kept at once, over all requests."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, count: int) -> None:
        if count > self._left:
            raise Overloaded("too many large bodies are held here at once: try again in a moment.")
        self._left -= count

    def give_back(self, count: int) -> None:
        self._left += count


class Exchange:
    """`close` it at the end. `status` is 0 until an answer has begun.

    `patience` is how many seconds may pass between two parts of the body. `refused` says why the token that
    was shown is nobody's, `revision` of which revision the replica was that has answered.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, budget: Budget, patience: float
    ) -> None:
        self.method: str = scope["method"]
        self.headers: Headers = scope["headers"]
        self.query: bytes = scope["query_string"]
        self.named = dict(self.headers)
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        self.scheme: str = scope.get("scheme", "http")
        given = self.named.get(b"x-request-id", b"")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else b"%016x" % random.getrandbits(64)
        self.started = time.perf_counter()
        self.caller: Principal = ANONYMOUS
        self.token = ""
        self.refused: Unauthorized | None = None
        self.revision = 0
        self.body = b""
        self.whole = False
        self.passed_on = False
        self.status = 0
        self.first_byte = 0.0
        self.tokens_in = self.tokens_out = 0
        self.more: Headers = []
        self.page = False
        self.gone = False
        self.failed = False
        self.cold = 0.0
        self.metrics: EndpointMetrics | None = None
        self.tally: Tally | None = None
        self._receive = receive
        self._send = send
        self._budget = budget
        self._patience = patience
        self._kept = 0
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def trail(self) -> Trail:
        """Who asks, for the audit log."""
        return Trail(caller=self.caller, request_id=self.request_id.decode(), address=self.client)

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.perf_counter() - self.started

    async def read(self, most: int) -> bool:
        """Keep the body, if it has up to `most` bytes; whether that is so. ClientGone, Overloaded."""
        declared = self.named.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > most:
            return False
        body, more = await self._part()
        self._keep(len(body))
        if not more:
            self.body, self.whole = body, True
            return True
        return await self._read_on([body], most)

    async def _read_on(self, chunks: list[bytes], most: int) -> bool:
        size, more = len(chunks[0]), True
        while more and size <= most:
            chunk, more = await self._part()
            size += len(chunk)
            self._keep(len(chunk))
            chunks.append(chunk)
        self.body, self.whole = b"".join(chunks), not more
        return size <= most and self.whole

    async def _part(self) -> tuple[bytes, bool]:
        """The next part of the body, and whether more follow. ClientGone, BadRequest."""
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise BadRequest(f"nothing more of the body came within {self._patience:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def _keep(self, count: int) -> None:
        self._budget.take(count)
        self._kept += count

    @property
    def length(self) -> int | None:
        """Of the body, if it was said or read."""
        if self.whole:
            return len(self.body)
        declared = self.named.get(b"content-length", b"")
        return int(declared) if declared.isdigit() else None

    async def rest(self) -> AsyncIterator[bytes]:
        """What was read of a long body, then what comes, once. ClientGone."""
        self.passed_on = True
        body, self.body = self.body, b""
        self._budget.give_back(self._kept)
        self._kept = 0
        if body:
            yield body
        while not self.whole:
            chunk, more = await self._part()
            self.whole = not more
            if chunk:
                yield chunk

    async def linger(self) -> None:
        """Read on for a while: closing at once would reset the connection before the answer is seen."""
        left = LINGER_BYTES
        with suppress(ClientGone, BadRequest, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and not self.whole:
                    part, more = await self._part()
                    left -= max(1, len(part))
                    self.whole = not more

    def watch(self) -> None:
        """Cancel this task when the client goes away, and set `gone`. Once the body was read."""
        if self._timer is None:
            task = asyncio.current_task()
            assert task is not None
            self._timer = asyncio.get_running_loop().call_later(LOOK_AFTER, self._begin_watching, task)

    def _begin_watching(self, task: asyncio.Task[Any]) -> None:
        self._watcher = asyncio.create_task(self._until_gone(task))

    async def _until_gone(self, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        task.cancel()

    def unwatch(self) -> None:
        """To be called before an answer ends, for then servers say that the client is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        self.first_byte = self.seconds
        every = [*headers, (b"x-request-id", self.request_id), *(PAGE if self.page else ALWAYS), *self.more]
        await self._send({"type": "http.response.start", "status": status, "headers": every})

    async def send(self, body: bytes, *, more: bool = False) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        self.unwatch()
        await self.begin(status, headers)
        await self.send(b"" if self.method == "HEAD" else body)

    def close(self) -> None:
        self.unwatch()
        self._budget.give_back(self._kept)
        self._kept = 0
        self.body = b""
