"""Answers for the hub behind this one, where this server knows nothing.

The model: a wrapper around the application. The application answers first. Only when that answer is that
there is no such model, and its name is not known here, the upstream hub is asked, and its answer given as
if it were ours. What a branch holds is asked for again after a moment; what a commit holds, never. When
upstream is away, what is kept is given, however old. Files come by us as they are downloaded; the last
piece of one is held back until its hash is right, so that no client takes a wrong file for whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanza.errors import UpstreamAway, UpstreamUnavailable
from lanza.hub.api.paths import server_of
from lanza.hub.api.ranges import Span, asked_span, has_already
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.upstream.answers import UNKNOWN, record_of, refusal, without_xet
from lanza.hub.upstream.cache import Incoming, Record
from lanza.hub.upstream.ours import is_ours
from lanza.hub.upstream.upstream import BUSY_SECONDS, Reply, Upstream
from lanza.hub.upstream.wanted import Wanted, wanted

FRESH_SECONDS: Final = 60.0
"""How long an answer about a branch counts as current."""

MOST_JSON: Final = 64 * 2**20


class ReadThrough:
    """Wraps `app`. Closes `upstream` when the server ends."""

    def __init__(self, app: ASGIApp, *, hub: Hub, upstream: Upstream) -> None:
        self.app = app
        self._hub = hub
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._closing(send))
            return
        asked = None
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            asked = wanted(scope["path"], scope["query_string"])
        if asked is None:
            await self.app(scope, receive, send)
            return
        held = _Held(send)
        await self.app(scope, receive, held.send)
        if not held.messages:
            return
        if await run_in_threadpool(self._is_ours, asked.name) or not await self._answer(
            asked, Request(scope, receive), receive, send
        ):
            await held.release()

    def _closing(self, send: Send) -> Send:
        async def close_first(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._upstream.close()
            await send(message)

        return close_first

    def _is_ours(self, name: RepoName) -> bool:
        with self._hub.database.reading() as session:
            return is_ours(session, name)

    async def _answer(self, asked: Wanted, request: Request, receive: Receive, send: Send) -> bool:
        """Answer the request, if upstream knows the repository. Whether it does."""
        record = await self._record(asked)
        if record.code == UNKNOWN:
            return False
        if record.status != 200:
            raise refusal(asked.name, record, asked.file)
        if not asked.is_file:
            response: Response = _page(record, request, self._upstream.url)
        elif request.method == "HEAD" or has_already(request.headers, f'"{record.etag}"'):
            response = _head(asked, record, request)
        elif (path := await run_in_threadpool(self._upstream.cache.file, record.etag)) is not None:
            response = _File(
                path, headers=_file_headers(asked, record), media_type="application/octet-stream"
            )
        else:
            await self._stream(asked, record, request, send)
            return True
        await response(request.scope, receive, send)
        return True

    async def _record(self, asked: Wanted) -> Record:
        """What upstream says, or said a moment ago, or whenever when it is away."""
        cache = self._upstream.cache
        kept = await run_in_threadpool(cache.find, asked.address)
        if kept is not None and (_is_final(asked, kept) or cache.now() - kept.asked < FRESH_SECONDS):
            return kept
        try:
            record = await self._ask(asked)
        except UpstreamUnavailable as error:
            if kept is not None:
                return kept
            raise _unanswered(asked, error) from error
        await run_in_threadpool(cache.keep, asked.address, record)
        return record

    async def _ask(self, asked: Wanted) -> Record:
        async with self._upstream.ask("HEAD" if asked.is_file else "GET", asked.address) as reply:
            body = b""
            if reply.status == 200 and not asked.is_file:
                body = await run_in_threadpool(without_xet, await reply.read(MOST_JSON))
            return record_of(reply, body, now=self._upstream.cache.now())

    async def _stream(self, asked: Wanted, record: Record, request: Request, send: Send) -> None:
        """Pass a file on as it comes, and keep it, when all of it is asked for."""
        headers = _file_headers(asked, record)
        span = None
        if record.size is not None:
            span = asked_span(request.headers, etag=headers["ETag"], size=record.size)
        part = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span else {}
        address = asked.at(record.commit) if record.commit else asked.address
        async with self._upstream.ask("GET", address, part) as reply:
            if reply.status != 200 and not (span and reply.status == 206):
                raise refusal(asked.name, record_of(reply), asked.file)
            headers |= _lengths(record, span if reply.status == 206 else None)
            raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
            pieces = reply.pieces() if reply.status == 206 else self._kept(record, reply)
            async with aclosing(pieces):
                piece = await anext(pieces, b"")  # what fails before is an error like any other
                await send({"type": "http.response.start", "status": reply.status, "headers": raw})
                while piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await anext(pieces, b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _kept(self, record: Record, reply: Reply) -> AsyncGenerator[bytes]:
        """The pieces of a whole file, which is kept. The last one comes when the hash is right."""
        incoming = await run_in_threadpool(self._upstream.cache.begin, record.etag, record.size)
        if incoming is None:
            async for piece in reply.pieces():
                yield piece
            return
        try:
            last = b""
            async for piece in reply.pieces():
                await run_in_threadpool(incoming.write, piece)
                if last:
                    yield last
                last = piece
            await self._finish(incoming, record)
            yield last
        finally:
            incoming.abandon()

    async def _finish(self, incoming: Incoming, record: Record) -> None:
        if not await run_in_threadpool(incoming.finish):
            raise UpstreamUnavailable(
                "the upstream hub gave a file that is not what it said: its hash is wrong."
            )
        await run_in_threadpool(self._upstream.cache.grown, record.size or 0)


class _Held:
    """Lets an answer pass, unless it says that there is no such repository: that one waits in `messages`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        if self.messages or _says_unknown(message):
            self.messages.append(message)
        else:
            await self._send(message)

    async def release(self) -> None:
        for message in self.messages:
            await self._send(message)


class _File(FileResponse):
    chunk_size = 2**20


def _unanswered(asked: Wanted, error: UpstreamUnavailable) -> UpstreamUnavailable:
    """The same, for somebody who only knows the name of a model."""
    message = (
        f"the model {asked.name} is not on this server, and {error.message} Check the server's connection, "
        "or start it with --no-upstream."
    )
    if isinstance(error, UpstreamAway):
        return UpstreamAway(message)
    return UpstreamUnavailable(message, retry_after=error.retry_after or BUSY_SECONDS)


def _says_unknown(message: Message) -> bool:
    if message["type"] != "http.response.start" or message["status"] != 404:
        return False
    return Headers(raw=message["headers"]).get("x-error-code") == UNKNOWN


def _is_final(asked: Wanted, record: Record) -> bool:
    return asked.pinned and record.status == 200


def _lengths(record: Record, span: Span | None) -> dict[str, str]:
    """How much will come. That it does is seen to by the server."""
    if record.size is None:
        return {}
    if span is None:
        return {"Content-Length": str(record.size)}
    return {"Content-Length": str(span.size), "Content-Range": span.header(record.size)}


def _page(record: Record, request: Request, url: str) -> Response:
    """JSON, with links that lead here."""
    headers = {"X-Repo-Commit": record.commit} if record.commit else {}
    if f"<{url}/" in record.link:
        headers["Link"] = record.link.replace(f"<{url}/", f"<{server_of(request)}/")
    return Response(record.body, headers=headers, media_type="application/json")


def _head(asked: Wanted, record: Record, request: Request) -> Response:
    headers = _file_headers(asked, record)
    if has_already(request.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(headers=headers | _lengths(record, None))


def _file_headers(asked: Wanted, record: Record) -> dict[str, str]:
    """As of a file of ours. Nothing of it is ever shown by a browser."""
    name = quote(PurePosixPath(asked.file).name, safe="")
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Security-Policy": "sandbox",
        "Content-Type": "application/octet-stream",
        "ETag": f'"{record.etag}"',
        "X-Content-Type-Options": "nosniff",
        "X-Repo-Commit": record.commit,
    }
