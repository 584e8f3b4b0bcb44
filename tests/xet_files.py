"""Makes what Xet clients send: xorbs of chunks, shards of files. Written apart from their reader."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import zip_longest

import lz4.frame

from lanza.hub.xet.formats import Unpacker

TAG = b"HFRepoMetaData\0" + bytes(
    [85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169]
)
END = b"\xff" * 32 + bytes(16)

Range = tuple[str, int, int, int]
"""A xorb, its first chunk, the one after its last, and how many bytes those have."""


def packed(chunk: bytes, scheme: int = 0) -> bytes:
    """A chunk with its header."""
    if scheme == 2:
        grouped = b"".join(chunk[position::4] for position in range(4))
        body = lz4.frame.compress(grouped)
    else:
        body = lz4.frame.compress(chunk) if scheme == 1 else chunk
    return b"\0" + len(body).to_bytes(3, "little") + bytes([scheme]) + len(chunk).to_bytes(3, "little") + body


def xorb(chunks: Sequence[bytes], schemes: Sequence[int] = ()) -> tuple[str, bytes]:
    """A xorb's hash and its bytes."""
    data = b"".join(
        packed(chunk, scheme) for chunk, scheme in zip_longest(chunks, schemes, fillvalue=0) if chunk
    )
    unpacker = Unpacker()
    unpacker.feed(data)
    return unpacker.finish(), data


def wire(name: str) -> bytes:
    """A hash, from its text: each 8 bytes stand in reverse there."""
    raw = bytes.fromhex(name)
    return b"".join(raw[start : start + 8][::-1] for start in range(0, 32, 8))


def file(
    content: bytes, ranges: Sequence[Range], *, sha256: str | None = None, verified: bool = True
) -> bytes:
    """A file's records in a shard."""
    claimed = sha256 or hashlib.sha256(content).hexdigest()
    flags = (1 << 30) | (1 << 31 if verified else 0)
    head = struct.pack("<32sIIQ", b"f" * 32, flags, len(ranges), 0)
    terms = [struct.pack("<32sIIII", wire(name), 0, size, first, last) for name, first, last, size in ranges]
    checks = [bytes(48)] * len(ranges) if verified else []
    return b"".join([head, *terms, *checks, wire(claimed) + bytes(16)])


def shard(*files: bytes, xorbs: Sequence[str] = ()) -> bytes:
    """A shard with these files. Of xorbs it says their names, and that each has one chunk."""
    named = [struct.pack("<32sIIII", wire(name), 0, 1, 0, 0) + bytes(48) for name in xorbs]
    return TAG + struct.pack("<QQ", 2, 0) + b"".join([*files, END, *named, END])
