"""Large files come in whole and true or not at all, into a folder and into a bucket."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from obstore.store import MemoryStore

from lanza.errors import BadRequest, NotFound, StorageFull, Unavailable
from lanza.hub import incoming, shelves
from lanza.hub.blobs import BlobStore
from lanza.hub.shelves import Bucket, Folder, Item

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()


def in_folder(root: Path) -> BlobStore:
    return BlobStore.open(str(root / "data"), root / "scratch")


def in_bucket(root: Path) -> BlobStore:
    (root / "scratch").mkdir()
    return BlobStore(Bucket(MemoryStore()), scratch=root / "scratch", staging=root)


@pytest.fixture(params=[in_folder, in_bucket])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    made: BlobStore = request.param(tmp_path)
    return made


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small file takes every way that a large one does."""
    monkeypatch.setattr(incoming, "PIECE", 40_000)
    monkeypatch.setattr(incoming, "WRITE_OUT", 100_000)
    monkeypatch.setattr(shelves, "FETCH", 70_000)


async def sent(content: bytes, size: int = 7_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
    yield b""


def receive(store: BlobStore, sha256: str, size: int, content: bytes) -> None:
    asyncio.run(store.receive(sha256, size, sent(content)))


def write(store: BlobStore, sha256: str, size: int, content: bytes) -> None:
    store.write(sha256, size, (content[start : start + 7_000] for start in range(0, len(content), 7_000)))


ways = pytest.mark.parametrize("come", [receive, write])
Come = Callable[[BlobStore, str, int, bytes], None]


@ways
def test_what_came_is_given_back(store: BlobStore, come: Come, tmp_path: Path) -> None:
    come(store, SHA256, len(CONTENT), CONTENT)
    assert b"".join(store.read(SHA256, piece=1000)) == CONTENT
    assert store.has(SHA256)
    assert store.size(SHA256) == len(CONTENT)
    assert list(store.all()) == [(SHA256, len(CONTENT))]
    assert not list((tmp_path / "scratch").iterdir())


@ways
def test_an_empty_file_is_a_file_too(store: BlobStore, come: Come) -> None:
    come(store, EMPTY, 0, b"")
    assert list(store.read(EMPTY)) == []
    assert store.size(EMPTY) == 0


@ways
@pytest.mark.parametrize(
    ("sha256", "size", "content", "reason"),
    [
        ("0" * 64, len(CONTENT), CONTENT, "has the SHA-256"),
        (SHA256, len(CONTENT) + 1, CONTENT, "300,000 bytes came, and not the 300,001"),
        (SHA256, len(CONTENT) - 1, CONTENT, "more came than the 299,999 bytes"),
        (SHA256, len(CONTENT), CONTENT[:-1], "299,999 bytes came"),
        (SHA256, len(CONTENT), CONTENT + b"x", "more came"),
        (SHA256, len(CONTENT), b"", "0 bytes came"),
        (EMPTY, 0, b"x", "more came"),
    ],
)
def test_what_is_not_as_it_was_said_leaves_nothing(
    store: BlobStore, come: Come, tmp_path: Path, sha256: str, size: int, content: bytes, reason: str
) -> None:
    with pytest.raises(BadRequest, match=reason):
        come(store, sha256, size, content)
    assert not list(store.all())
    assert not list((tmp_path / "scratch").iterdir())


def test_a_client_that_leaves_half_way_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    class Left(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:200_000]
        raise Left

    with pytest.raises(Left):
        asyncio.run(store.receive(SHA256, len(CONTENT), broken()))
    assert not list(store.all())
    assert not list((tmp_path / "scratch").iterdir())


def test_an_upload_that_is_cancelled_leaves_nothing(store: BlobStore, tmp_path: Path) -> None:
    async def endless(begun: asyncio.Event) -> AsyncIterator[bytes]:
        yield CONTENT[:200_000]
        begun.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(store.receive(SHA256, len(CONTENT), endless(begun)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not list((tmp_path / "scratch").iterdir())


@ways
def test_a_full_disk_is_said_so_and_keeps_nothing(
    tmp_path: Path, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = in_folder(tmp_path)
    monkeypatch.setattr(incoming.Incoming, "_save", full)
    with pytest.raises(StorageFull, match="disk is full"):
        come(store, SHA256, len(CONTENT), CONTENT)
    assert not list(store.all())
    assert not list((tmp_path / "scratch").iterdir())


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_real_device_that_is_always_full_is_a_full_disk(tmp_path: Path) -> None:
    file = incoming.Incoming(tmp_path, SHA256, len(CONTENT))
    with Path("/dev/full").open("wb", buffering=0) as device:
        file._file = device
        with pytest.raises(StorageFull):
            file.write(CONTENT)


def test_of_several_files_all_are_stored_or_none(store: BlobStore, tmp_path: Path) -> None:
    contents = [CONTENT[:size] for size in (0, 1, 999, 100_000, 300_000)]
    files = [(hashlib.sha256(content).hexdigest(), len(content), [content]) for content in contents]
    with pytest.raises(BadRequest):
        store.write_all([*files, ("0" * 64, 1, [b"x"])])
    assert not list(store.all())
    assert not list((tmp_path / "scratch").iterdir())
    store.write_all(files)
    assert [b"".join(store.read(name)) for name, _, _ in files] == contents
    assert not list((tmp_path / "scratch").iterdir())


def test_bytes_of_a_blob_that_is_there_are_verified_and_not_written(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    write(store, SHA256, len(CONTENT), CONTENT)
    path = store.path(SHA256)
    assert path is not None
    before = path.stat().st_ino
    write(store, SHA256, len(CONTENT), CONTENT)
    with pytest.raises(BadRequest):
        write(store, SHA256, len(CONTENT), b"x" * len(CONTENT))
    assert path.stat().st_ino == before


def test_a_blob_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    write(store, SHA256, len(CONTENT), CONTENT)
    path = store.path(SHA256)
    assert path is not None
    os.truncate(path, 1000)
    write(store, SHA256, len(CONTENT), CONTENT)
    assert b"".join(store.read(SHA256)) == CONTENT


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (5, 5), (299_990, 300_000), (299_990, None), (100_000, 250_001)]
)
def test_any_range_can_be_read(store: BlobStore, start: int, end: int | None) -> None:
    write(store, SHA256, len(CONTENT), CONTENT)
    assert b"".join(store.read(SHA256, start, end, piece=30_000)) == CONTENT[start:end]


@pytest.mark.parametrize("end", [None, 10])
def test_a_missing_blob_is_not_found(store: BlobStore, end: int | None) -> None:
    with pytest.raises(NotFound, match="missing"):
        next(store.read(SHA256, 0, end))
    assert not store.has(SHA256)
    assert store.size(SHA256) is None
    assert store.path(SHA256) is None
    store.delete(SHA256)


def test_a_blob_that_was_cut_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    write(store, SHA256, len(CONTENT), CONTENT)
    path = store.path(SHA256)
    assert path is not None
    os.truncate(path, 1000)
    with pytest.raises(NotFound, match="cut off"):
        list(store.read(SHA256, 0, len(CONTENT)))


def test_a_removed_blob_is_gone(store: BlobStore) -> None:
    write(store, SHA256, len(CONTENT), CONTENT)
    store.delete(SHA256)
    assert not store.has(SHA256)


def test_a_file_that_was_written_elsewhere_is_taken_if_it_is_the_right_one(
    store: BlobStore, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    with pytest.raises(BadRequest):
        store.accept(source, "0" * 64, len(CONTENT))
    store.accept(source, SHA256, len(CONTENT))
    assert not source.exists()
    assert b"".join(store.read(SHA256)) == CONTENT


def test_strange_files_among_blobs_are_no_blobs(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    write(store, SHA256, len(CONTENT), CONTENT)
    (tmp_path / "data" / "blobs" / "ab").mkdir()
    (tmp_path / "data" / "blobs" / "ab" / "notes.txt").write_text("mine")
    assert list(store.all()) == [(SHA256, len(CONTENT))]


def test_a_scratch_folder_on_another_file_system_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent.name == "scratch":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    store = in_folder(tmp_path)
    write(store, SHA256, len(CONTENT), CONTENT)
    assert b"".join(store.read(SHA256)) == CONTENT
    assert not list((tmp_path / "scratch").iterdir())
    assert list(store.all()) == [(SHA256, len(CONTENT))]


def test_a_url_opens_a_bucket_and_everything_else_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    bucket = BlobStore.open("s3://bucket/prefix", tmp_path / "scratch")
    assert isinstance(bucket._shelf, Bucket)
    assert bucket.staging == tmp_path
    folder = BlobStore.open(str(tmp_path / "data"), tmp_path / "scratch")
    assert isinstance(folder._shelf, Folder)
    assert folder.staging == tmp_path / "data"


def test_an_object_store_that_fails_asks_to_try_again(tmp_path: Path) -> None:
    # Nobody listens there, and one try is enough to know.
    from obstore.store import S3Store

    dead = S3Store(
        "bucket",
        endpoint="http://127.0.0.1:1",
        access_key_id="a",
        secret_access_key="b",
        region="eu-west-1",
        client_options={"allow_http": True, "connect_timeout": "1s"},
        retry_config={"max_retries": 0},
    )
    store = BlobStore(Bucket(dead), scratch=tmp_path, staging=tmp_path)
    with pytest.raises(Unavailable, match="object store"):
        store.has(SHA256)


def test_a_bucket_tells_since_when_it_has_what(tmp_path: Path) -> None:
    bucket = Bucket(MemoryStore())
    (tmp_path / "file").write_bytes(b"abc")
    bucket.put({"a/b": tmp_path / "file"})
    found = bucket.find("a/b")
    assert isinstance(found, Item)
    assert (found.key, found.size) == ("a/b", 3)
    assert found.since.tzinfo is not None
    assert bucket.find("a/c") is None


def test_one_at_a_time_has_the_turn(tmp_path: Path) -> None:
    store = in_folder(tmp_path)
    order: list[str] = []

    def second() -> None:
        with store.turn("name"):
            order.append("second")

    thread = Thread(target=second)
    with store.turn("name"), store.turn("another"):
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_small_chunks_are_joined_and_no_byte_is_lost() -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(CONTENT), 999):
            yield CONTENT[start : start + 999]

    pieces = list(incoming.gathered(chunks()))
    assert b"".join(pieces) == CONTENT
    assert len(pieces) == 8
    assert list(incoming.gathered(iter([]))) == []
