"""Where the chunks of a xorb are: how long each is, and which blobs hold it by now.

Packed, for the database: the number of chunks, and that of their hashes, which is the same or 0 (4 bytes
each); the chunks' lengths (4 each); their hashes (32 each); then 48 bytes for each span: first and last chunk
(4 each), offset in the blob (8), the blob's SHA-256 (32). All little-endian.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
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
    """A xorb's chunks. `spans` are in order and do not overlap; `hashes` are there while needed."""

    lengths: Sequence[int]
    spans: tuple[Span, ...] = ()
    hashes: Sequence[bytes] = ()

    @classmethod
    def unpack(cls, data: bytes) -> Chunks:
        count, hashed = struct.unpack_from("<II", data)
        at = 8 + 4 * count
        end = at + 32 * hashed
        return cls(
            lengths=struct.unpack_from(f"<{count}I", data, 8),
            spans=tuple(_span(*fields) for fields in _SPAN.iter_unpack(data[end:])),
            hashes=[data[start : start + 32] for start in range(at, end, 32)],
        )

    def pack(self, *, with_hashes: bool = True) -> bytes:
        count, hashes = len(self.lengths), self.hashes if with_hashes else ()
        spans = (_SPAN.pack(it.first, it.last, it.offset, bytes.fromhex(it.sha256)) for it in self.spans)
        return b"".join([struct.pack(f"<II{count}I", count, len(hashes), *self.lengths), *hashes, *spans])

    @cached_property
    def starts(self) -> list[int]:
        """Where each chunk begins in the unpacked xorb; in the end, its size."""
        return list(accumulate(self.lengths, initial=0))

    @cached_property
    def _firsts(self) -> list[int]:
        return [span.first for span in self.spans]

    @property
    def complete(self) -> bool:
        """Whether blobs hold every chunk."""
        return next(self.missing(), None) is None

    def missing(self) -> Iterator[int]:
        """The chunks that no blob is known to hold."""
        at = 0
        for span in self.spans:
            yield from range(at, span.first)
            at = span.last
        yield from range(at, len(self.lengths))

    def covers(self, first: int, last: int) -> bool:
        return sum(span.last - span.first for span in self.within(first, last)) == last - first

    def size(self, first: int, last: int) -> int:
        return self.starts[last] - self.starts[first]

    def within(self, first: int, last: int) -> Iterator[Span]:
        """The parts of spans that hold the chunks from `first` up to `last`."""
        at = max(0, bisect_right(self._firsts, first) - 1)
        for span in self.spans[at : bisect_left(self._firsts, last)]:
            low, high = max(first, span.first), min(last, span.last)
            if low < high:
                yield self._part(span, low, high)

    def having(self, spans: Iterable[Span]) -> Chunks:
        """With those chunks of `spans` of which nothing was known."""
        known = bytearray(len(self.lengths))
        for span in self.spans:
            known[span.first : span.last] = b"\1" * (span.last - span.first)
        found = list(self.spans)
        for span in spans:
            for first, last in _gaps(known, span.first, span.last):
                known[first:last] = b"\1" * (last - first)
                found.append(self._part(span, first, last))
        found.sort(key=lambda it: it.first)
        return replace(self, spans=tuple(self._joined(found)))

    def _part(self, span: Span, first: int, last: int) -> Span:
        return replace(span, first=first, last=last, offset=span.offset + self.size(span.first, first))

    def _joined(self, spans: Sequence[Span]) -> Iterator[Span]:
        """The same in fewer spans, where one continues another."""
        last: Span | None = None
        for span in spans:
            if last is not None and self._end(last) == (span.sha256, span.first, span.offset):
                last = replace(last, last=span.last)
                continue
            if last is not None:
                yield last
            last = span
        if last is not None:
            yield last

    def _end(self, span: Span) -> tuple[str, int, int]:
        return span.sha256, span.last, span.offset + self.size(span.first, span.last)


def _span(first: int, last: int, offset: int, sha256: bytes) -> Span:
    return Span(first, last, sha256.hex(), offset)


def _gaps(known: bytearray, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The runs of zeros from `first` up to `last`."""
    while (start := known.find(0, first, last)) >= 0:
        end = known.find(1, start, last)
        first = last if end < 0 else end
        yield start, first
