"""Where objects lie: a folder, or a bucket of an object store.

A shelf takes finished files and gives them back in pieces, by keys like `blobs/ab/abcd...`. What lies on
it is whole and never changes; `put` of the same key again brings the same bytes. It knows nothing of hashes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EXDEV
from pathlib import Path
from typing import Any, Final, Protocol

from lanza.errors import Unavailable

PART: Final = 16 * 2**20
"""Bytes that go to a bucket in one request; more for what would need over `MOST_PARTS`."""
MOST_PARTS: Final = 9_000

AT_ONCE: Final = 8
"""Small files that are put away at the same time: mostly they wait for the disk, or the network."""

FETCH: Final = 8 * 2**20
"""Bytes that come from a bucket in one request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Something on a shelf. `since` is when it was put there last."""

    key: str
    size: int
    since: datetime


class Shelf(Protocol):
    """What both kinds of shelf do. A key that is not there is a FileNotFoundError, where one is needed."""

    def put(self, files: Mapping[str, Path]) -> None:
        """Move finished files here, by their keys; all are durable when this returns."""

    def read(self, key: str, start: int, end: int, piece: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, `piece` at a time."""

    def find(self, key: str) -> Item | None: ...

    def path(self, key: str) -> Path | None:
        """The file itself, where there is one."""

    def delete(self, key: str) -> None:
        """Nothing happens when it is not there."""

    def all(self, prefix: str) -> Iterator[Item]: ...


class Folder:
    """Files below `root`. Folders on the way to them are made when they are needed, and then stay."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        return self.root / key

    def put(self, files: Mapping[str, Path]) -> None:
        # All in one go: syncing mostly waits for the file system's journal, which they then share.
        targets = {self.path(key): source for key, source in files.items()}
        new = [folder for target in targets for folder in _make_folders(target.parent)]
        _sync_all(targets.values())
        for target, source in targets.items():
            _move(source, target)
        _sync_all({target.parent for target in targets} | {folder.parent for folder in new})

    def read(self, key: str, start: int, end: int, piece: int) -> Iterator[bytes]:
        with self.path(key).open("rb", buffering=0) as file:
            file.seek(start)
            while start < end:
                data = file.read(min(piece, end - start))
                if not data:
                    raise FileNotFoundError(f"{key} ends at {start} and not at {end}")
                start += len(data)
                yield data

    def find(self, key: str) -> Item | None:
        try:
            return _item(key, self.path(key).stat())
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        self.path(key).unlink(missing_ok=True)

    def all(self, prefix: str) -> Iterator[Item]:
        for folder, folders, names in os.walk(self.root / prefix):
            folders.sort()
            for name in sorted(names):
                key = Path(folder, name).relative_to(self.root).as_posix()
                if item := self.find(key):
                    yield item


class Bucket:
    """Objects of an object store, through obstore's `store`: S3, Google's, Azure's or one in memory."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def path(self, key: str) -> Path | None:
        return None

    def put(self, files: Mapping[str, Path]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._put, files.values(), files.keys()):
                pass

    def _put(self, source: Path, key: str) -> None:
        import obstore

        part = max(PART, -(-source.stat().st_size // MOST_PARTS))
        try:
            with _answering():
                obstore.put(self._store, key, source, chunk_size=part, max_concurrency=4)
        except FileNotFoundError as error:
            raise Unavailable("the object store has no such bucket: its operator has to make it.") from error
        source.unlink()

    def read(self, key: str, start: int, end: int, piece: int) -> Iterator[bytes]:
        import obstore

        # Requests of their own: one that lasts as long as a slow client takes would time out.
        while start < end:
            with _answering():
                data = memoryview(
                    obstore.get_range(self._store, key, start=start, end=min(start + FETCH, end))
                )
            if not data:
                raise FileNotFoundError(f"{key} ends at {start} and not at {end}")
            yield from (bytes(data[at : at + piece]) for at in range(0, len(data), piece))
            start += len(data)

    def find(self, key: str) -> Item | None:
        import obstore

        try:
            with _answering():
                meta = obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        return Item(key=key, size=meta["size"], since=meta["last_modified"])

    def delete(self, key: str) -> None:
        import obstore

        try:
            with _answering():
                obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def all(self, prefix: str) -> Iterator[Item]:
        import obstore

        with _answering():
            for some in obstore.list(self._store, prefix, chunk_size=1000):
                for meta in some:
                    yield Item(key=meta["path"], size=meta["size"], since=meta["last_modified"])


@contextmanager
def _answering() -> Iterator[None]:
    """An object store that does not do what it should is Unavailable; clients try again."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        reason = str(error).partition("\n")[0]
        raise Unavailable(f"the object store does not answer as it should ({reason}): try again.") from error


def _item(key: str, stat: os.stat_result) -> Item:
    return Item(key=key, size=stat.st_size, since=datetime.fromtimestamp(stat.st_mtime, UTC))


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != EXDEV:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Move to another file system: whole or not at all there too."""
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        shutil.copyfile(source, aside)
        _sync(aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
    source.unlink()


def _make_folders(folder: Path) -> list[Path]:
    """Make `folder` and those above it that are not there. Gives those that are new."""
    if folder.is_dir():
        return []
    above = _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    return [*above, folder]


def _sync_all(paths: Collection[Path]) -> None:
    if len(paths) == 1:
        _sync(*paths)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(_sync, paths):
            pass


def _sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
