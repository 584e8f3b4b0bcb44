"""What an upstream hub has answered, on the disk.

The model: an answer (`Record`) is kept under the address that was asked. A file's content is kept once,
under the hash that its ETag is, and only after it was found to have that hash; so every repository may
share it. What was not used for longest goes when all of it is over the bound. Everything here blocks, is
called on threads, and may be removed at any time: it can be asked for again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

log = logging.getLogger("lanza.hub.upstream")

LEFT_FREE: Final = 2**30
"""Bytes of the disk that caching never takes."""

MOST_RECORDS: Final = 200_000
TIDY_AFTER: Final = 1000
"""The bounds are looked at after so many answers and files, or a hundredth of what may be kept."""

_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer, without the content of a file. `asked` is when, in seconds since 1970.

    `status` is 200 or 404. `etag` is bare, without quotes; `link` is the header of that name.
    """

    status: int
    asked: float
    code: str = ""
    message: str = ""
    commit: str = ""
    etag: str = ""
    size: int | None = None
    link: str = ""
    body: bytes = b""


class Cache:
    """Answers and files below the folder `root`, of at most `most` bytes together."""

    def __init__(self, root: Path, *, most: int, clock: Callable[[], float] = time.time) -> None:
        self._records = root / "records"
        self._files = root / "files"
        self._incoming = root / "incoming"
        self._most = most
        self._clock = clock
        self._new = 0
        self._new_bytes = 0
        shutil.rmtree(self._incoming, ignore_errors=True)

    def now(self) -> float:
        return self._clock()

    def find(self, address: str) -> Record | None:
        """The last answer to `address`."""
        path = self._record(address)
        try:
            record = msgspec.msgpack.decode(path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError):
            return None
        _touch(path)
        return record

    def keep(self, address: str, record: Record) -> None:
        """Keep an answer. A disk that takes no more is no reason not to give it."""
        path = self._record(address)
        try:
            aside = self._aside()
            aside.write_bytes(msgspec.msgpack.encode(record))
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(path)
        except OSError as error:
            log.warning("an answer of the upstream hub is not kept: %s", error)
            return
        self.grown(len(record.body))

    def file(self, etag: str) -> Path | None:
        """The file whose content has this hash."""
        if not _HASH.fullmatch(etag):
            return None
        path = self._file(etag)
        if not path.is_file():
            return None
        _touch(path)
        return path

    def begin(self, etag: str, size: int | None) -> Incoming | None:
        """A place for the file's content while it comes; None when it cannot or shall not be kept."""
        if size is None or size > self._most or not _HASH.fullmatch(etag):
            return None
        try:
            aside = self._aside()
            if shutil.disk_usage(aside.parent).free < size + LEFT_FREE:
                return None
            return Incoming(aside, self._file(etag), etag=etag, size=size)
        except OSError as error:
            log.warning("files of the upstream hub are not kept: %s", error)
            return None

    def grown(self, size: int) -> None:
        """Note that there is one more, and `size` bytes; now and then, see that it is not too much."""
        self._new += 1
        self._new_bytes += size
        if self._new >= TIDY_AFTER or self._new_bytes * 100 > self._most:
            self._new = self._new_bytes = 0
            self.tidy()

    def tidy(self) -> None:
        """Remove what was not used for longest, as far as the bounds ask for it."""
        found = []
        for folder in (self._records, self._files):
            for path in folder.glob("*/*"):
                with suppress(OSError):
                    stat = path.stat()
                    found.append((stat.st_mtime, stat.st_size, path))
        found.sort(reverse=True)
        total = records = 0
        for _, size, path in found:
            total += size
            records += path.is_relative_to(self._records)
            if total > self._most or records > MOST_RECORDS:
                path.unlink(missing_ok=True)

    def _record(self, address: str) -> Path:
        name = hashlib.sha256(address.encode()).hexdigest()
        return self._records / name[:2] / name[2:]

    def _file(self, etag: str) -> Path:
        return self._files / etag[:2] / etag[2:]

    def _aside(self) -> Path:
        self._incoming.mkdir(parents=True, exist_ok=True)
        return self._incoming / secrets.token_hex(16)


class Incoming:
    """A file on its way into the cache. `finish` or `abandon` must be called once it is over."""

    def __init__(self, aside: Path, final: Path, *, etag: str, size: int) -> None:
        self._aside = aside
        self._final = final
        self._etag = etag
        self._digest = content_hash(etag, size)
        self._file: IO[bytes] | None = aside.open("xb")

    def write(self, piece: bytes) -> None:
        """Take the next bytes. When the disk takes no more, the file is only checked, and not kept."""
        self._digest.update(piece)
        if self._file is None:
            return
        try:
            self._file.write(piece)
        except OSError as error:
            log.warning("a file of the upstream hub is not kept: %s", error)
            self.abandon()

    def finish(self) -> bool:
        """Whether the content has the hash that was promised. If so, it is in the cache from now on."""
        sound = self._digest.hexdigest() == self._etag
        if self._file is not None and sound:
            self._file.close()
            with suppress(OSError):
                self._final.parent.mkdir(parents=True, exist_ok=True)
                self._aside.replace(self._final)
        self.abandon()
        return sound

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._aside.unlink(missing_ok=True)


def content_hash(etag: str, size: int) -> hashlib._Hash:
    """The hash to be fed with a file's content: SHA-256 of large files, git's own of others."""
    if len(etag) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)
