"""What a client has already, and which part of a file it wants: conditional and range requests (RFC 9110).

Every file has a strong ETag, its content's hash. One range of bytes is served; several at once, and what
makes no sense, are ignored as the RFC allows, and the whole file is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lanza.errors import RangeNotSatisfiable

_ONE_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE)
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The bytes from `start` up to, and without, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def header(self, size: int) -> str:
        """`Content-Range`, of a file with `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def has_already(headers: Mapping[str, str], etag: str) -> bool:
    """Whether `If-None-Match` names what the file holds: 304. `etag` comes with its quotes."""
    asked = headers.get("if-none-match", "")
    return asked.strip() == "*" or etag in _TAG.findall(asked)


def asked_span(headers: Mapping[str, str], *, etag: str, size: int) -> Span | None:
    """The part that is asked for; None for the whole file. RangeNotSatisfiable when the file is shorter."""
    found = _ONE_RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or not (found[1] or found[2]):
        return None
    if headers.get("if-range", etag).strip() != etag:
        return None
    if not found[1]:
        return _checked(max(0, size - int(found[2])), size, size)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if last < first and found[2]:
        return None
    return _checked(first, min(last + 1, size), size)


def _checked(start: int, stop: int, size: int) -> Span:
    if start >= size:
        raise RangeNotSatisfiable(f"the file ends at byte {size}, nothing is at {start}.", size=size)
    return Span(start=start, stop=stop)
