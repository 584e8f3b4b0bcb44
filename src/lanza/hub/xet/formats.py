"""What Xet clients send, decoded: xorbs, bundles of chunks, and shards, which say how files are made of them.

A xorb is one chunk after another: a header of 8 bytes (version, length as sent, scheme, length), then its
bytes, as they are (0), as an LZ4 frame (1), or as an LZ4 frame of bytes that are grouped by their position
modulo 4 (2). Older clients add a footer, which says nothing new. A shard lists files, each as ranges of
chunks of xorbs, with the file's SHA-256. Hashes are 32 bytes; as text, each 8 of them stand in reverse.

Formats and hashes as in xet-core 1.8. Whatever does not fit is a BadRequest; nothing here trusts a length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import lz4.frame
from blake3 import blake3

from lanza.errors import BadRequest, PayloadTooLarge

Bytes = bytes | memoryview

LONGEST_CHUNK: Final = 128 * 2**10
MOST_CHUNKS: Final = 8 * 2**10
MOST_UNPACKED: Final = 64 * 2**20

_CHUNK_HEADER: Final = 8
_FOOTER: Final = b"XETBLOB"
_RAW, _LZ4, _GROUPED_LZ4 = range(3)

# Keys that tell the hash of a chunk from that of a list of hashes (merklehash/data_hash.rs).
_CHUNK_KEY: Final = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_LIST_KEY: Final = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")

_SHARD: Final = b"HFRepoMetaData\0" + bytes.fromhex("5569 67456a 7b815783 a5bdd95c cdd14aa9")
_SHARD_VERSION: Final = 2
_ENTRY: Final = 48
_END: Final = b"\xff" * 32
_WITH_VERIFICATION: Final = 1 << 31
_WITH_SHA256: Final = 1 << 30


def hash_text(raw: bytes) -> str:
    return struct.pack(">4Q", *struct.unpack("<4Q", raw)).hex()


@dataclass(frozen=True, slots=True)
class Term:
    """The chunks of a xorb from `first` up to `last`, which hold `size` bytes."""

    xorb: str
    first: int
    last: int
    size: int


@dataclass(frozen=True, slots=True)
class File:
    """A file, as the terms that give its bytes one after another."""

    sha256: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        return sum(term.size for term in self.terms)


@dataclass(frozen=True, slots=True)
class Shard:
    """Files, and the names of xorbs that came for them; what else it says of those is known already."""

    files: list[File]
    xorbs: list[str]


def read_shard(data: bytes) -> Shard:
    if len(data) < _ENTRY or not data.startswith(_SHARD):
        raise BadRequest("this is no Xet shard: it does not begin like one.")
    (version,) = struct.unpack_from("<Q", data, len(_SHARD))
    if version != _SHARD_VERSION:
        raise BadRequest(f"this shard is of version {version}, and only {_SHARD_VERSION} is known here.")
    try:
        end, files = _files(data)
        return Shard(files=files, xorbs=list(_xorbs(data, end)))
    except struct.error:
        raise BadRequest("this shard is cut off: send it again.") from None


def _files(data: bytes) -> tuple[int, list[File]]:
    """All files, and where they end."""
    files: list[File] = []
    at = _ENTRY
    while True:
        name, flags, count = struct.unpack_from("<32sII8x", data, at)
        at += _ENTRY
        if name == _END:
            return at, files
        terms = tuple(_term(data, at + index * _ENTRY) for index in range(count))
        at += count * _ENTRY * (2 if flags & _WITH_VERIFICATION else 1)
        if not flags & _WITH_SHA256:
            raise BadRequest("a file in this shard comes without its SHA-256: update huggingface_hub.")
        (sha256,) = struct.unpack_from("<32s16x", data, at)
        at += _ENTRY
        files.append(File(sha256=hash_text(sha256), terms=terms))


def _xorbs(data: bytes, at: int) -> Iterator[str]:
    while True:
        name, _, count = struct.unpack_from("<32sII8x", data, at)
        if name == _END:
            return
        yield hash_text(name)
        at += _ENTRY * (1 + count)


def _term(data: bytes, at: int) -> Term:
    xorb, _, size, first, last = struct.unpack_from("<32sIIII", data, at)
    if last <= first:
        raise BadRequest("a file in this shard has a range without chunks.")
    return Term(xorb=hash_text(xorb), first=first, last=last, size=size)


class Unpacker:
    """Unpacks a xorb as its bytes come: `feed` gives those chunks that are complete.

    `lengths` and `hashes` are the chunks' so far; `finish` gives the hash that the xorb has by its chunks.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.size = 0
        self.hashes: list[bytes] = []
        self._rest = b""
        self._ended = False

    def feed(self, data: bytes) -> list[Bytes]:
        data = self._rest + data
        view = memoryview(data)
        chunks: list[Bytes] = []
        at = 0
        while not self._ended and len(data) - at >= _CHUNK_HEADER:
            if data.startswith(_FOOTER, at):
                self._ended = True
                break
            packed, scheme, length = self._header(data[at : at + _CHUNK_HEADER])
            end = at + _CHUNK_HEADER + packed
            if len(data) < end:
                break
            chunks.append(self._add(_unpacked(view[end - packed : end], scheme, length)))
            at = end
        self._rest = b"" if self._ended else data[at:]
        return chunks

    def finish(self) -> str:
        if self._rest:
            raise BadRequest("this xorb is cut off: send it again.")
        if not self.hashes:
            raise BadRequest("this xorb has no chunks.")
        return hash_text(hash_of_list(list(zip(self.hashes, self.lengths, strict=True))))

    def _header(self, header: bytes) -> tuple[int, int, int]:
        version, scheme = header[0], header[4]
        packed, length = int.from_bytes(header[1:4], "little"), int.from_bytes(header[5:8], "little")
        if version != 0 or scheme > _GROUPED_LZ4:
            raise BadRequest(f"a chunk of version {version} and scheme {scheme} cannot be read here.")
        if not 0 < length <= LONGEST_CHUNK or not 0 < packed <= 2 * LONGEST_CHUNK:
            raise BadRequest(f"a chunk of {length:,} bytes, {packed:,} as sent, is none of Xet's.")
        return packed, scheme, length

    def _add(self, chunk: Bytes) -> Bytes:
        self.size += len(chunk)
        self.lengths.append(len(chunk))
        if self.size > MOST_UNPACKED or len(self.lengths) > MOST_CHUNKS:
            raise PayloadTooLarge(f"a xorb holds at most {MOST_CHUNKS:,} chunks of {MOST_UNPACKED:,} bytes.")
        self.hashes.append(chunk_hash(chunk))
        return chunk


def _unpacked(data: memoryview, scheme: int, length: int) -> Bytes:
    chunk = data if scheme == _RAW else _unframed(data, length)
    if len(chunk) != length:
        raise BadRequest(f"a chunk is said to have {length:,} bytes and has others: send the xorb again.")
    return _ungrouped(chunk) if scheme == _GROUPED_LZ4 else chunk


def _unframed(data: memoryview, length: int) -> bytes:
    """The content of an LZ4 frame, of which never more than `length` + 1 bytes are unpacked."""
    frame = lz4.frame.LZ4FrameDecompressor()
    try:
        found: bytes = frame.decompress(data, max_length=length + 1)
    except RuntimeError as error:
        raise BadRequest(f"a chunk is no LZ4 frame ({error}): send the xorb again.") from error
    return found


def _ungrouped(data: Bytes) -> bytes:
    """First came all bytes at positions 0, 4, 8, ..., then those at 1, 5, ..., and so on."""
    chunk = bytearray(len(data))
    at = 0
    for position in range(4):
        count = len(range(position, len(data), 4))
        chunk[position::4] = data[at : at + count]
        at += count
    return bytes(chunk)


def chunk_hash(chunk: Bytes) -> bytes:
    return blake3(chunk, key=_CHUNK_KEY).digest()


def hash_of_list(nodes: Sequence[tuple[bytes, int]]) -> bytes:
    """The root of the tree over hashes with the sizes of what they stand for. At least one."""
    level = list(nodes)
    while len(level) > 1:
        cuts = list(_cuts([name for name, _ in level]))
        level = [_merged(level[first:last]) for first, last in pairwise(cuts)]
    return level[0][0]


def _cuts(hashes: Sequence[bytes]) -> Iterator[int]:
    """Where the tree cuts a level: after 3 to 9 nodes, when a hash is a multiple of 4, or at the end."""
    start = 0
    yield start
    while start < len(hashes):
        end = min(start + 9, len(hashes))
        start = next((at + 1 for at in range(start + 2, end) if hashes[at][24] % 4 == 0), end)
        yield start


def _merged(nodes: Sequence[tuple[bytes, int]]) -> tuple[bytes, int]:
    text = "".join(f"{hash_text(name)} : {size}\n" for name, size in nodes)
    return blake3(text.encode(), key=_LIST_KEY).digest(), sum(size for _, size in nodes)
