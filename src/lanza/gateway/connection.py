"""One connection to a replica, and the answers that come over it: HTTP/1.1, one request at a time.

The model: `ask` writes a request and returns when it is settled how the answer is to be passed on: it is
whole, or it is a stream that has begun (server-sent events, or more than `REPLAYED` bytes). Whatever else
happens is `Broken`: nobody listens, the connection ends in the middle, what comes is no HTTP. Of a general
client it has neither redirects, cookies, TLS nor encodings; that, and no task or timer of its own, is why it
costs a request a fifth of what aiohttp's does (bench/gateway).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, cast

import httptools

from lanza.gateway.settings import REPLAYED

LONGEST_HEAD: Final = 64 * 1024
WAITING: Final = 256 * 1024
"""Bytes of a stream that may wait to be passed on, before the replica has to wait."""

STREAMS: Final = (b"text/event-stream", b"application/x-ndjson", b"application/jsonl", b"multipart/")

Headers = list[tuple[bytes, bytes]]


class Broken(Exception):
    """A replica did not answer. `reached`: it may have seen the request. `stale`: an old connection had been
    closed at the other end, which says nothing of the replica."""

    def __init__(self, reason: str, *, reached: bool = True, stale: bool = False) -> None:
        super().__init__(reason)
        self.reached = reached
        self.stale = stale


class Answer:
    """A status, headers with names in lower case, and a body: whole, or to be read by `chunks`."""

    __slots__ = ("_connection", "body", "headers", "status", "whole")

    def __init__(self, connection: Connection, status: int, headers: Headers) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.body = b""
        self.whole = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, once. Broken when it ends before its end."""
        while (chunk := await self._connection.chunk()) is not None:
            yield chunk


class Connection(asyncio.Protocol):
    """Made by `connections.py`. May be asked again while `usable`."""

    def __init__(self) -> None:
        self.usable = False
        self.uses = 0
        self.idle_since = 0.0
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._settled: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None
        self._headers: Headers = []
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._head_bytes = 0
        self._headless = False
        self._complete = True
        self._ends_with_connection = False
        self._failure: Broken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._writable: asyncio.Future[None] | None = None

    # What a request does

    async def ask(self, request: bytes, *, bodiless: bool = False) -> Answer:
        """`bodiless`: the answer has a head only (HEAD). Broken; cancelling it ends the connection."""
        settled = self.begin(bodiless=bodiless)
        self._transport.write(request)
        return await self.settled(settled)

    def begin(self, *, bodiless: bool = False) -> asyncio.Future[Answer]:
        """Expect an answer to what is written from now on."""
        self.uses += 1
        self._answer = None
        self._headers = []
        self._chunks.clear()
        self._size = self._head_bytes = 0
        self._headless = bodiless
        self._complete = self._ends_with_connection = False
        self._settled = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            self._settled.set_exception(self._failure)
        return self._settled

    async def settled(self, settled: asyncio.Future[Answer]) -> Answer:
        try:
            return await settled
        except asyncio.CancelledError:
            self.abort()
            raise

    async def write(self, data: bytes) -> None:
        """More of a request, not faster than it is taken. Broken."""
        if self._failure is not None:
            raise self._failure
        self._transport.write(data)
        if self._writable is not None:
            await self._writable

    async def chunk(self) -> bytes | None:
        """The next part of a stream; None at its end."""
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._complete:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        if self._paused and self._size < WAITING // 2 and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return chunk

    def abort(self) -> None:
        """End it now: what comes is wanted no more."""
        self.usable = False
        self._transport.abort()

    @property
    def broken(self) -> bool:
        """Whether the other end has broken off the last answer."""
        return self._failure is not None

    @property
    def complete(self) -> bool:
        """Whether the last answer has come to its end."""
        return self._complete

    # What the event loop does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._complete:
            self.abort()  # nothing was asked: whatever this is, the next answer must not begin with it
            return
        if self._answer is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"what it answers is no HTTP ({error})")
            return
        if self._answer is None and self._head_bytes > LONGEST_HEAD:
            self._fail("the head of its answer does not end")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._complete:
            return
        if error is None and self._ends_with_connection:
            self._end()
            return
        begun = self._answer is not None or self._head_bytes > 0
        self._fail(
            "it ended in the middle of an answer" if begun else "it ended without an answer",
            stale=self.uses > 1 and not begun,
        )

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # What the parser finds

    def on_message_begin(self) -> None:
        if self._complete:
            self.usable = False  # a second answer, that nobody has asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._complete:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete or status < 200:
            self._headers = []  # 100 Continue and its like: the answer is still to come
            return
        self._answer = Answer(self, status, self._headers)
        kind, sized = b"", False
        for name, value in self._headers:
            if name == b"content-type":
                kind = value
            elif name in (b"content-length", b"transfer-encoding"):
                sized = True
        if self._headless or status in (204, 304):
            self.usable = self.usable and not self._headless
            self._end()
            return
        self._ends_with_connection = not sized
        if kind.startswith(STREAMS):
            self._settle()

    def on_body(self, data: bytes) -> None:
        if self._complete:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._settled is not None and self._size > REPLAYED:
            self._settle()
        if self._settled is None and self._size > WAITING and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._complete:
            if not self._parser.should_keep_alive():
                self.usable = False
            self._end()

    def _end(self) -> None:
        self._complete = True
        if self._settled is not None and self._answer is not None:
            self._answer.whole = True
            chunks = self._chunks
            self._answer.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._chunks = deque()
            self._settle()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if not self.usable:
            self._transport.close()

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None and not settled.done() and self._answer is not None:
            settled.set_result(self._answer)

    def _fail(self, reason: str, *, stale: bool = False) -> None:
        self._failure = Broken(reason, stale=stale)
        self._complete, self.usable = True, False
        settled, self._settled = self._settled, None
        if settled is not None and not settled.done():
            settled.set_exception(self._failure)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._transport.abort()
