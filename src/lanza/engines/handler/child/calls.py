"""One request inside the handler's process, and the ways in which it can be answered."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from .flow import Flow
from .trial import describe, report
from .values import BadInput, decode_data, encode_answer, encode_event
from .wire import encode_frame


class Channel:
    """The way back to the replica, for any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        frame = encode_frame(header, body)
        # a replica that is gone is noticed by the thread that reads, which ends the process
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(frame)


class Call:
    """`data()` is what the handler is called with; exactly one of the answering methods ends the call."""

    def __init__(self, channel: Channel, header: Mapping[str, Any], body: bytes, folder: str) -> None:
        self.flow = Flow()
        self._channel = channel
        self._id = int(header["id"])
        self._content_type = str(header["content_type"])
        self._accept = str(header["accept"])
        self._body = body
        self._folder = folder

    def data(self) -> dict[str, Any]:
        return decode_data(self._body, self._content_type)

    def started(self) -> None:
        """Tell that the handler's code sees this request from now on."""
        self._channel.send({"op": "started", "id": self._id})

    def answer(self, value: Any) -> None:
        content_type, body = encode_answer(value, self._accept)
        self._channel.send({"op": "result", "id": self._id, "content_type": content_type}, body)

    def fail(self, error: BaseException) -> None:
        kind = "request" if isinstance(error, BadInput) else "handler"
        if kind == "handler":
            report(error)
        told = describe(error, self._folder) if kind == "handler" else {"message": str(error)}
        self._channel.send({"op": "error", "id": self._id, "kind": kind, **told})

    def stream(self, values: Iterator[Any]) -> None:
        """Send each value, from the handler's thread; close the generator when nobody reads."""
        try:
            for value in values:
                if not self.flow.take():
                    return
                self._chunk(value)
            self._end()
        finally:
            close = getattr(values, "close", None)
            if callable(close):
                close()

    async def stream_async(self, values: AsyncIterator[Any]) -> None:
        """The same on the event loop."""
        try:
            async for value in values:
                if not await self.flow.take_async():
                    return
                self._chunk(value)
            self._end()
        finally:
            close = getattr(values, "aclose", None)
            if callable(close):
                await close()

    def _chunk(self, value: Any) -> None:
        self._channel.send({"op": "chunk", "id": self._id}, encode_event(value))

    def _end(self) -> None:
        self._channel.send({"op": "end", "id": self._id})
