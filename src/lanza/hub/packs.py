"""Writing git objects: all that one commit brings becomes one pack, which is there whole or not at all.

A loose file for each object would have to be synced one by one, and 100,000 of them take minutes. A pack is
two files: the objects, and where each begins (git's `gitformat-pack`, version 2). Both are written aside,
synced, and renamed, the index last, since git looks for indexes; so a crash leaves no half of one. What is
here does not read objects, and makes no deltas: that comes with `maintenance.py`, which puts packs together.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import IO, Final

ASIDE: Final = "tmp_pack_"
"""How the names of files that are not finished begin; git's own do too."""

_SAMPLE: Final = 4096
_LARGE_OFFSET: Final = 2**31


class Kind(IntEnum):
    """What an object is, as packs number it."""

    COMMIT = 1
    TREE = 2
    BLOB = 3
    TAG = 4


def object_id(kind: Kind, content: bytes) -> bytes:
    """Git's name for an object, as its 20 bytes."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.name.lower().encode(), len(content)), usedforsecurity=False)
    digest.update(content)
    return digest.digest()


class Pack:
    """Objects that shall appear together. They are kept in memory until `write`."""

    def __init__(self) -> None:
        self._objects: dict[bytes, tuple[Kind, bytes]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, kind: Kind, content: bytes) -> bytes:
        """Take an object in; gives its id."""
        oid = object_id(kind, content)
        self._objects[oid] = (kind, content)
        return oid

    def write(self, objects: Path) -> None:
        """Put the pack into git's folder `objects`. OSError when there is no room; then nothing is left."""
        folder = objects / "pack"
        aside = folder / f"{ASIDE}{secrets.token_hex(8)}"
        index = aside.with_suffix(".idx")
        try:
            with aside.open("xb") as file:
                places, checksum = _write_objects(file, self._objects)
                _settle(file)
            with index.open("xb") as file:
                _write_index(file, places, checksum)
                _settle(file)
            final = folder / f"pack-{checksum.hex()}.pack"
            aside.rename(final)
            index.rename(final.with_suffix(".idx"))
        finally:
            aside.unlink(missing_ok=True)
            index.unlink(missing_ok=True)
        sync_folder(folder)


class _Place:
    """Where an object begins in a pack, and the CRC-32 of what stands there."""

    __slots__ = ("crc", "offset", "oid")

    def __init__(self, oid: bytes, offset: int, crc: int) -> None:
        self.oid = oid
        self.offset = offset
        self.crc = crc


def _write_objects(file: IO[bytes], objects: dict[bytes, tuple[Kind, bytes]]) -> tuple[list[_Place], bytes]:
    """Write all; gives where each is, in the order of their ids, and the checksum at the end."""
    head = b"PACK" + struct.pack(">II", 2, len(objects))
    digest = hashlib.sha1(head, usedforsecurity=False)
    file.write(head)
    offset = len(head)
    places = []
    for oid, (kind, content) in objects.items():
        written = crc = 0
        for piece in _encoded(kind, content):
            digest.update(piece)
            crc = zlib.crc32(piece, crc)
            file.write(piece)
            written += len(piece)
        places.append(_Place(oid, offset, crc))
        offset += written
    file.write(digest.digest())
    return sorted(places, key=lambda place: place.oid), digest.digest()


def _encoded(kind: Kind, content: bytes) -> Iterator[bytes]:
    """An object as it stands in a pack: kind and size in 4, then 7 bits at a time, then the content."""
    size = len(content)
    byte, size = (kind << 4) | (size & 15), size >> 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    yield bytes(head)
    yield zlib.compress(content, _level(content))


def _level(content: bytes) -> int:
    """No compression for what a look at its beginning says does not shrink, the fastest for all else."""
    sample = content[:_SAMPLE]
    shrinks = len(zlib.compress(sample, 1)) < 0.9 * len(sample)
    return 1 if shrinks or len(content) <= _SAMPLE else 0


def _write_index(file: IO[bytes], places: Sequence[_Place], checksum: bytes) -> None:
    counts = [0] * 256
    for place in places:
        counts[place.oid[0]] += 1
    fanout, total = [], 0
    for count in counts:
        total += count
        fanout.append(total)
    large = [place.offset for place in places if place.offset >= _LARGE_OFFSET]
    numbers = iter(range(len(large)))
    offsets = [p.offset if p.offset < _LARGE_OFFSET else _LARGE_OFFSET | next(numbers) for p in places]
    body = b"".join(
        [
            b"\xfftOc" + struct.pack(">I", 2),
            struct.pack(">256I", *fanout),
            *(place.oid for place in places),
            struct.pack(f">{len(places)}I", *(place.crc for place in places)),
            struct.pack(f">{len(places)}I", *offsets),
            struct.pack(f">{len(large)}Q", *large),
            checksum,
        ]
    )
    file.write(body + hashlib.sha1(body, usedforsecurity=False).digest())


def _settle(file: IO[bytes]) -> None:
    """See that a finished file is on the disk, and that nobody writes to it again."""
    file.flush()
    os.fsync(file.fileno())
    Path(file.name).chmod(0o444)


def sync_folder(folder: Path) -> None:
    """See that the names in `folder` are on the disk."""
    if os.name == "nt":  # pragma: no cover -- folders cannot be opened there, and need not be synced
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
