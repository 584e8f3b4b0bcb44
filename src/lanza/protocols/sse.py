"""Server-sent events, as much of them as streamed answers need: each event is one `data` field."""

from __future__ import annotations

from typing import Final

DONE: Final = b"data: [DONE]\n\n"
"""How OpenAI's protocol ends a stream."""


def encode_event(data: bytes) -> bytes:
    """One event. `data` may have several lines: each becomes a field of its own, as the format wants."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
