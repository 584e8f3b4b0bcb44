"""The frames that a replica and its handler's process exchange.

A frame is two lengths (4 and 8 bytes, big-endian), a JSON header of the first length and raw bytes of the
second: images and answers travel as they are. Nothing here reads or writes a socket.

From the replica: `call` (a request), `cancel`, `more` (the reader took some chunks), `stop`.
From the handler: `ready` or `failed` (to load), then for each call `started` and one of `result`, `error`, or
any number of `chunk` and an `end` or `error`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

_LENGTHS: Final = struct.Struct("!IQ")
MAX_HEADER: Final = 2**20
MAX_BODY: Final = 2**30

WINDOW: Final = 256
"""How many chunks of one stream may be on their way: beyond it the generator waits for its reader."""


class BrokenFrame(ValueError):
    """The other side sent what is no frame, or one over the limits."""


def encode_frame(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    head = json.dumps(header).encode()
    _check(len(head), len(body))
    return b"".join((_LENGTHS.pack(len(head), len(body)), head, body))


class FrameDecoder:
    """Collects bytes as they come and gives the frames that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Header and body of each frame that `data` completes. Raises BrokenFrame at lengths that lie."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < _LENGTHS.size:
            return None
        head, body = _LENGTHS.unpack_from(self._buffer)
        _check(head, body)
        start, end = _LENGTHS.size + head, _LENGTHS.size + head + body
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[_LENGTHS.size : start]), bytes(self._buffer[start:end])
        del self._buffer[:end]
        return frame


def _check(head: int, body: int) -> None:
    if head > MAX_HEADER or body > MAX_BODY:
        raise BrokenFrame(
            f"a message of {head + body:,} bytes is over the limit of {MAX_BODY >> 20} MiB between a "
            "handler and its replica: send it in parts, from a generator."
        )
