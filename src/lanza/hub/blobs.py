"""Large files, each by the SHA-256 of its bytes: how they come in, whole and true or not at all.

The model: bytes are hashed while they are written to a file in the scratch folder. If they are what their
sender said, the file moves to the shelf (`shelves.py`); if not, nothing is left. So what has a name here has
that content, and the same content is stored once. Who may reach a blob is said elsewhere (`lfs.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from starlette.concurrency import run_in_threadpool

from lanza.errors import NotFound
from lanza.hub.incoming import Incoming, check_content, feed, full_disk, gathered
from lanza.hub.shelves import Bucket, Folder, Shelf
from lanza.hub.turns import Turns

T = TypeVar("T")

WORKERS: Final = 4
"""Uploads that are put together at the same time."""

WRITERS: Final = 4
"""Files of one upload that are written at the same time."""

BLOBS: Final = "blobs"


class BlobStore:
    """Blobs on a shelf.

    `scratch` is a folder for files that are being written; `staging` one for what has come and waits for more
    of it, which outlives a restart.
    """

    def __init__(self, shelf: Shelf, *, scratch: Path, staging: Path) -> None:
        self._shelf = shelf
        self._scratch = scratch
        self.staging = staging
        self._turns = Turns(scratch / "turns")
        self._workers = ThreadPoolExecutor(WORKERS, "blobs")

    @classmethod
    def open(cls, where: str, scratch: Path) -> Self:
        """A folder, or a URL that obstore knows (`s3://bucket/prefix`, `gs://...`, `az://...`).

        Regions, keys and endpoints of a bucket are read from the environment (`AWS_REGION`, ...).
        """
        scratch.mkdir(parents=True, exist_ok=True)
        if "://" not in where:
            folder = Path(where)
            return cls(Folder(folder), scratch=scratch, staging=folder)
        from obstore.store import from_url

        return cls(Bucket(from_url(where)), scratch=scratch, staging=scratch.parent)

    async def receive(self, sha256: str, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Store what comes. BadRequest when it is not what was said, StorageFull; then nothing is left."""
        incoming = Incoming(self._scratch, sha256, size)
        try:
            await feed(chunks, incoming.write)
            await run_in_threadpool(self._keep, [incoming])
        finally:
            incoming.drop()

    def write(self, sha256: str, size: int, chunks: Iterable[bytes]) -> None:
        """The same for bytes that are here. Those of a blob that is stored already are only verified."""
        self.write_all([(sha256, size, chunks)])

    def write_all(self, blobs: Iterable[tuple[str, int, Iterable[bytes]]]) -> None:
        """Store several, given as to `write`; none of them when one is not what was said."""
        files = [
            (Incoming(self._scratch, sha256, size, stored=self.size(sha256) == size), chunks)
            for sha256, size, chunks in blobs
        ]
        try:
            with ThreadPoolExecutor(WRITERS) as pool:
                for _ in pool.map(_fill, files):
                    pass
            self._keep([incoming for incoming, _ in files])
        finally:
            for incoming, _ in files:
                incoming.drop()

    def accept(self, source: Path, sha256: str, size: int) -> None:
        """Store a file that was written elsewhere in the data folder. BadRequest when it is another one."""
        with source.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        check_content(sha256, size, found, source.stat().st_size)
        with full_disk():
            self._shelf.put({key_of(sha256): source})

    def _keep(self, files: Iterable[Incoming]) -> None:
        finished = {key_of(incoming.sha256): incoming.finish() for incoming in files}
        with full_disk():
            self._shelf.put({key: path for key, path in finished.items() if path is not None})

    async def work(self, task: Callable[..., T], *given: Any) -> T:
        """Do what takes long on a thread kept for such things: there are few, and other requests have theirs.

        It goes on when its client has left, who may come again and find it done.
        """
        return await asyncio.get_running_loop().run_in_executor(self._workers, task, *given)

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Be the only one that works on `name`, in whatever process of the server; others wait."""
        with self._turns.of(name):
            yield

    def has(self, sha256: str) -> bool:
        return self._shelf.find(key_of(sha256)) is not None

    def size(self, sha256: str) -> int | None:
        found = self._shelf.find(key_of(sha256))
        return found.size if found else None

    @property
    def local(self) -> bool:
        """Whether blobs are files here."""
        return isinstance(self._shelf, Folder)

    def path(self, sha256: str) -> Path | None:
        """The file itself, when the shelf is a folder that has it."""
        path = self._shelf.path(key_of(sha256))
        return path if path is not None and path.is_file() else None

    def read(
        self, sha256: str, start: int = 0, end: int | None = None, piece: int = 2**20
    ) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces. NotFound, with the first, if they are not here."""
        stop = self.size(sha256) if end is None else end
        try:
            if stop is None:
                raise FileNotFoundError(sha256)
            yield from self._shelf.read(key_of(sha256), start, stop, piece)
        except FileNotFoundError as error:
            raise NotFound(
                f"the content {sha256} is missing or cut off in this server's store: push the file again, "
                "and tell its operator, who can look for more with `lanza hub verify`."
            ) from error

    def delete(self, sha256: str) -> None:
        self._shelf.delete(key_of(sha256))

    def all(self) -> Iterator[tuple[str, int]]:
        """Every blob: its SHA-256 and its size."""
        return ((sha256, size) for sha256, size, _ in self.listing())

    def listing(self) -> Iterator[tuple[str, int, datetime]]:
        """The same, with the time when it was stored last."""
        for item in self._shelf.all(BLOBS):
            name = item.key.rpartition("/")[2]
            if item.key == key_of(name):
                yield name, item.size, item.since


def key_of(sha256: str) -> str:
    # One level of folders: with two, nearly every blob would need a folder of its own made and synced.
    return f"{BLOBS}/{sha256[:2]}/{sha256}"


def _fill(given: tuple[Incoming, Iterable[bytes]]) -> None:
    incoming, chunks = given
    for piece in gathered(chunks):
        incoming.write(piece)
    incoming.finish()
