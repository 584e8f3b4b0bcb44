"""Where the chunks of a xorb are: how long each is, and which blobs hold it by now.

Packed, for the database: the number of chunks (4 bytes), their lengths (4 each), then 48 bytes for each span:
first and last chunk (4 each), offset in the blob (8), the blob's SHA-256 (32). All little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Final

_SPAN: Final = struct.Struct("<IIQ32s")


@dataclass(frozen=True, slots=True)
class Span:
    """The chunks from `first` up to `last` lie in the blob `sha256`, from `offset` on."""

    first: int
    last: int
    sha256: str
    offset: int


@dataclass(frozen=True)
class Chunks:
    """A xorb's chunks. `spans` are in order, and do not overlap."""

    lengths: Sequence[int]
    spans: tuple[Span, ...] = ()

    @classmethod
    def unpack(cls, data: bytes) -> Chunks:
        (count,) = struct.unpack_from("<I", data)
        lengths = struct.unpack_from(f"<{count}I", data, 4)
        spans = _SPAN.iter_unpack(data[4 + 4 * count :])
        return cls(lengths, tuple(Span(first, last, raw.hex(), offset) for first, last, offset, raw in spans))

    def pack(self) -> bytes:
        count = len(self.lengths)
        spans = (_SPAN.pack(it.first, it.last, it.offset, bytes.fromhex(it.sha256)) for it in self.spans)
        return struct.pack(f"<I{count}I", count, *self.lengths) + b"".join(spans)

    @cached_property
    def starts(self) -> list[int]:
        """Where each chunk begins in the unpacked xorb; in the end, its size."""
        return list(accumulate(self.lengths, initial=0))

    @property
    def complete(self) -> bool:
        """Whether blobs hold every chunk."""
        return self.covers(0, len(self.lengths))

    def covers(self, first: int, last: int) -> bool:
        return not list(self._gaps(first, last))

    def size(self, first: int, last: int) -> int:
        return self.starts[last] - self.starts[first]

    def within(self, first: int, last: int) -> Iterator[Span]:
        """The parts of spans that hold the chunks from `first` up to `last`."""
        for span in self.spans:
            low, high = max(first, span.first), min(last, span.last)
            if low < high:
                yield self._part(span, low, high)

    def having(self, span: Span) -> Chunks:
        """With those chunks of `span` of which nothing was known."""
        new = [self._part(span, first, last) for first, last in self._gaps(span.first, span.last)]
        if not new:
            return self
        spans = sorted((*self.spans, *new), key=lambda it: it.first)
        return Chunks(self.lengths, tuple(self._joined(spans)))

    def without(self, blobs: Container[str]) -> Chunks:
        """Without the spans that lie in `blobs`."""
        return Chunks(self.lengths, tuple(span for span in self.spans if span.sha256 not in blobs))

    def _part(self, span: Span, first: int, last: int) -> Span:
        return replace(span, first=first, last=last, offset=span.offset + self.size(span.first, first))

    def _gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        for span in self.spans:
            if span.last <= first:
                continue
            if span.first >= last:
                break
            if first < span.first:
                yield first, span.first
            first = span.last
        if first < last:
            yield first, last

    def _joined(self, spans: Sequence[Span]) -> Iterator[Span]:
        last = spans[0]
        for span in spans[1:]:
            end = last.offset + self.size(last.first, last.last)
            if (span.first, span.sha256, span.offset) == (last.last, last.sha256, end):
                last = replace(last, last=span.last)
            else:
                yield last
                last = span
        yield last
