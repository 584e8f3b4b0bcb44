"""The replica's side of one request to the handler: what was asked, and what came back so far."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from lanza.engines.base import HandlerAnswer
from lanza.engines.handler.child.wire import WINDOW
from lanza.errors import BadRequest, EngineRestarting, HandlerError, LanzaError

Send = Callable[[Mapping[str, Any]], None]

EVENT_STREAM = "text/event-stream"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a frame from the handler's process. Its content type goes into an HTTP header."""

    op: Literal["ready", "failed", "started", "result", "chunk", "end", "error"]
    id: int = 0
    content_type: Annotated[str, msgspec.Meta(pattern=r"^[\w.+-]+/[\w.+-]+\Z", max_length=100)] = (
        "application/json"
    )
    kind: Literal["handler", "request"] = "handler"
    message: str = ""
    where: str = ""

    def error(self) -> LanzaError:
        if self.kind == "request":
            return BadRequest(self.message)
        raised = f"{self.message} (raised in {self.where})" if self.where else self.message
        return HandlerError(f"{raised}. The replica's log has the traceback.")


class NeverStarted(Exception):
    """The process died before the handler saw the request, which can be given to the next one."""


class Stream:
    """The chunks of one answer. Closing it, or leaving it, tells the handler to stop.

    At most `WINDOW` chunks are held: the handler is told when some were taken.
    """

    def __init__(self, call_id: int, send: Send, cancel: Callable[[], None]) -> None:
        self._id = call_id
        self._send = send
        self._cancel = cancel
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._taken = 0
        self._news = asyncio.Event()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            try:
                await self._news.wait()
            except asyncio.CancelledError:
                await self.aclose()
                raise
        self._grant()
        return self._chunks.popleft()

    async def aclose(self) -> None:
        self._chunks.clear()
        if not self._ended:
            self._cancel()
        self.end()

    def put(self, chunk: bytes) -> None:
        if not self._ended:
            self._chunks.append(chunk)
            self._news.set()

    def end(self, error: LanzaError | None = None) -> None:
        if error is not None:
            self.put(error_event(error))
        self._ended = True
        self._news.set()

    def _grant(self) -> None:
        self._taken += 1
        if self._taken == WINDOW // 4 and not self._ended:
            self._send({"op": "more", "id": self._id, "count": self._taken})
            self._taken = 0


class Call:
    """One request: `reply` is its answer, or the first of its answer when it streams."""

    def __init__(self, call_id: int, send: Send, patience: float) -> None:
        self.reply: asyncio.Future[HandlerAnswer] = asyncio.get_running_loop().create_future()
        self._id = call_id
        self._send = send
        self._patience = patience
        self._started = False
        self._stream: Stream | None = None

    def receive(self, reply: Reply, body: bytes) -> bool:
        """Take one frame; true when it was the last."""
        if reply.op == "started":
            self._started = True
        elif reply.op == "chunk":
            self._open().put(body)
        elif reply.op == "end":
            self._open().end()
        elif reply.op == "result":
            self._answer(HandlerAnswer(body=body, content_type=reply.content_type))
        elif reply.op == "error":
            self._fail(reply.error())
        return reply.op in ("end", "result", "error")

    def cancel(self) -> None:
        """Tell the handler that nobody waits for this answer any more."""
        self._send({"op": "cancel", "id": self._id, "patience": self._patience})

    def die(self, error: EngineRestarting) -> None:
        """The process is gone."""
        started = self._started or self._stream is not None
        self._fail(error if started else NeverStarted())

    def _open(self) -> Stream:
        if self._stream is None:
            self._stream = Stream(self._id, self._send, self.cancel)
            self._answer(HandlerAnswer(content_type=EVENT_STREAM, chunks=self._stream))
        return self._stream

    def _answer(self, answer: HandlerAnswer) -> None:
        if not self.reply.done():
            self.reply.set_result(answer)

    def _fail(self, error: LanzaError | NeverStarted) -> None:
        if self._stream is not None and isinstance(error, LanzaError):
            self._stream.end(error)
        elif not self.reply.done():
            self.reply.set_exception(error)


def error_event(error: LanzaError) -> bytes:
    """The last event of a stream that broke: its status was sent long before."""
    body = json.dumps({"error": error.message, "error_type": error.code}, ensure_ascii=False)
    return f"data: {body}\n\n".encode()
