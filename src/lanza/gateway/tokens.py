"""How many tokens an answer cost, read from the answer itself, as OpenAI's form and text-generation's say it.

An answer that says nothing counts none. What is no such form is known by how it begins, or by one search of
bytes: vectors are long, and to search them took a fifth of the gateway's time for a request.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

TAIL: Final = 16 * 1024
"""Bytes of a stream's end that are looked at: its last event says what all of it used."""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0


class _Details(msgspec.Struct):
    generated_tokens: int = 0
    prefill: list[msgspec.Raw] | None = None
    prompt_tokens: int | None = None
    input_length: int | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    details: _Details | None = None


_READ: Final = msgspec.json.Decoder(_Answer | list[_Answer])

_OBJECTS: Final = re.compile(rb"\s*(?:\[\s*)?\{")
"""How the JSON of an object begins, or of a list of them."""

Tokens = tuple[int, int]
"""Read and written."""


def tokens_of(body: bytes) -> Tokens:
    """Of a whole answer."""
    if _OBJECTS.match(body) is None:
        return 0, 0
    if b'"usage"' not in body and b'"generated_tokens"' not in body:
        return 0, 0
    try:
        found = _READ.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0, 0
    each = found if isinstance(found, list) else [found]
    counted = [_tokens(one) for one in each]
    return sum(it[0] for it in counted), sum(it[1] for it in counted)


def _tokens(answer: _Answer) -> Tokens:
    if answer.usage is not None:
        return max(0, answer.usage.prompt_tokens or 0), max(0, answer.usage.completion_tokens or 0)
    if answer.details is not None:
        details = answer.details
        read = details.prompt_tokens or details.input_length or len(details.prefill or ())
        return max(0, read), max(0, details.generated_tokens)
    return 0, 0


class StreamTokens:
    """Of a stream of events: what its last event with figures says. `feed` it every part."""

    def __init__(self) -> None:
        self._tail = b""
        self._said = False

    def feed(self, chunk: bytes) -> None:
        self._tail = (self._tail + chunk)[-TAIL:]

    def result(self) -> Tokens:
        for event in reversed(self._tail.split(b"\n\n")):
            data = event.strip().removeprefix(b"data:")
            counted = tokens_of(data)
            if counted != (0, 0):
                return counted
        return 0, 0
