from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from lanza.auth.records import Account
from lanza.auth.signing import Signer
from lanza.database import Database, now
from lanza.errors import Unavailable, UsageError
from lanza.hub import backup as module
from lanza.hub import dump, lfs
from lanza.hub.backup import backup, restore
from lanza.hub.blobs import BlobStore, key_of
from lanza.hub.git import Change, GitStore, Put, PutLarge
from lanza.hub.hub import Hub
from lanza.hub.records import Multipart, Repo, Xorb
from lanza.hub.xet.store import open_store, store_id

WEIGHTS = bytes(range(256)) * 1000


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Place:
    """A Hub over a data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / "git").mkdir(parents=True, exist_ok=True)
        self.database = Database(f"sqlite:///{data / 'lanza.db'}")
        self.database.migrate()
        self.hub = Hub(
            database=self.database,
            git=GitStore(data / "git"),
            blobs=BlobStore.open(str(data), data / "scratch"),
            signer=Signer(bytes(32)),
        )

    def begin(self) -> None:
        (self.data / "secret.key").write_bytes(b"k" * 32)
        (self.data / "secret.key").chmod(0o600)
        with self.database.writing() as session:
            session.add(Account(key="ana", name="ana", kind="user", created_at=now()))

    def repo(self, name: str) -> int:
        with self.database.writing() as session:
            repo = Repo(
                kind="model",
                key=f"ana/{name}",
                namespace="ana",
                name=name,
                owner_id=1,
                visibility="public",
                created_at=now(),
                updated_at=now(),
            )
            session.add(repo)
            session.flush()
            self.hub.git.create(repo.id, author="ana")
            return repo.id

    def remove(self, repo_id: int) -> None:
        with self.database.writing() as session:
            session.delete(session.get_one(Repo, repo_id))
        self.hub.git.remove(repo_id)

    def push(self, repo_id: int, *changes: Change) -> str:
        return self.hub.git.open(repo_id).commit("main", changes, author="ana", title="change").oid

    def large(self, repo_id: int, path: str, content: bytes) -> PutLarge:
        self.hub.blobs.write(sha(content), len(content), iter([content]))
        lfs.record(self.hub, repo_id, [lfs.Large(sha256=sha(content), size=len(content))])
        return PutLarge(path, sha(content), len(content))

    def files(self, repo_id: int) -> dict[str, bytes]:
        git = self.hub.git.open(repo_id)
        entries = git.entries(git.resolve("main"), recursive=True)
        return {
            it.path: b"".join(self.hub.blobs.read(it.lfs.sha256)) if it.lfs else git.read(it.oid)
            for it in entries
            if it.kind == "file"
        }


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "live")
    place.begin()
    yield place
    place.database.close()


@pytest.fixture
def reopen() -> Iterator[list[Place]]:
    opened: list[Place] = []
    yield opened
    for place in opened:
        place.database.close()


def restored(target: Path, data: Path, opened: list[Place]) -> Place:
    report = restore(target, data)
    assert report.problems == ()
    opened.append(Place(data))
    return opened[-1]


def test_what_was_backed_up_is_there_again(live: Place, tmp_path: Path, reopen: list[Place]) -> None:
    one, other = live.repo("becas"), live.repo("otra")
    live.push(one, Put("a.txt", b"hola"), live.large(one, "w.bin", WEIGHTS))
    live.hub.git.open(other).create_tag("v1", "main", "first")
    sizes: list[int] = []
    report = backup(live.hub, live.data, tmp_path / "saved", copied=sizes.append)
    assert (report.repositories, report.blobs, report.bytes, report.problems) == (2, 1, len(WEIGHTS), ())
    assert sizes == [len(WEIGHTS)]
    again = restored(tmp_path / "saved", tmp_path / "again", reopen)
    assert again.files(one) == live.files(one)
    assert [it.name for it in again.hub.git.open(other).tags()] == ["v1"]
    assert (again.data / "secret.key").read_bytes() == b"k" * 32
    assert (again.data / "secret.key").stat().st_mode & 0o777 == 0o600
    assert again.data.stat().st_mode & 0o077 == 0
    again.push(one, Put("b.txt", b"more"))
    assert "b.txt" not in live.files(one)


def test_a_second_backup_copies_only_new_blobs_and_drops_old_ones(live: Place, tmp_path: Path) -> None:
    one, other = live.repo("becas"), live.repo("otra")
    live.push(one, live.large(one, "w.bin", WEIGHTS))
    live.push(other, live.large(other, "v.bin", b"v" * 5000))
    target = tmp_path / "saved"
    backup(live.hub, live.data, target)
    live.remove(other)
    live.push(one, live.large(one, "n.bin", b"n" * 7000))
    sizes: list[int] = []
    report = backup(live.hub, live.data, target, copied=sizes.append)
    assert sizes == [7000]
    assert (report.repositories, report.blobs) == (1, 2)
    assert not (target / key_of(sha(b"v" * 5000))).exists()


def test_what_is_pushed_meanwhile_is_there_whole_or_not_at_all(
    live: Place, tmp_path: Path, reopen: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, one = live.repo("gone"), live.repo("becas")
    live.push(one, live.large(one, "w.bin", WEIGHTS))
    real = module._Repositories.copy_all
    made: list[int] = []

    def busy(copies: object) -> None:
        real(copies)  # type: ignore[arg-type]
        live.push(one, live.large(one, "late.bin", b"late" * 2000))
        live.remove(gone)
        made.append(live.repo("new"))
        live.push(made[0], live.large(made[0], "new.bin", b"new" * 3000))

    monkeypatch.setattr(module._Repositories, "copy_all", busy)
    assert backup(live.hub, live.data, tmp_path / "saved").problems == ()
    again = restored(tmp_path / "saved", tmp_path / "again", reopen)
    assert again.files(one) == live.files(one)
    assert again.files(made[0]) == live.files(made[0])
    assert not again.hub.git.folder(gone).exists()


def test_writers_wait_while_the_moment_is_taken(live: Place) -> None:
    began, ended = threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        live.repo("later")
        ended.set()

    writer = threading.Thread(target=write)
    with dump.held(live.database):
        writer.start()
        assert began.wait(10)
        assert not ended.wait(0.1)
        assert module._repo_ids(live.data / "lanza.db") == []
    writer.join(30)
    assert ended.is_set()


def test_damaged_and_missing_blobs_are_named(live: Place, tmp_path: Path) -> None:
    one = live.repo("becas")
    live.push(one, live.large(one, "w.bin", WEIGHTS), live.large(one, "v.bin", b"v" * 5000))
    damaged, missing = live.data / key_of(sha(WEIGHTS)), live.data / key_of(sha(b"v" * 5000))
    damaged.write_bytes(WEIGHTS[::-1])
    missing.unlink()
    problems = backup(live.hub, live.data, tmp_path / "saved").problems
    assert sorted(problems) == sorted(
        [
            f"the blob {sha(WEIGHTS)} is damaged: its bytes have another hash.",
            f"the blob {sha(b'v' * 5000)} is missing.",
        ]
    )


def test_damage_to_the_backup_is_named_when_it_is_restored(live: Place, tmp_path: Path) -> None:
    one = live.repo("becas")
    live.push(one, live.large(one, "w.bin", WEIGHTS))
    target = tmp_path / "saved"
    backup(live.hub, live.data, target)
    (target / key_of(sha(WEIGHTS))).write_bytes(WEIGHTS[::-1])
    for path in (target / "records" / "git").rglob("*.pack"):
        path.unlink()
    problems = restore(target, tmp_path / "again").problems
    assert [it.partition(" is")[0] for it in problems] == [
        f"the repository number {one}",
        f"the blob {sha(WEIGHTS)}",
    ]


def test_a_backup_that_breaks_off_leaves_the_one_before(
    live: Place, tmp_path: Path, reopen: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = live.repo("becas")
    live.push(one, Put("a.txt", b"hola"))
    target = tmp_path / "saved"
    backup(live.hub, live.data, target)
    before = live.files(one)
    live.push(one, Put("a.txt", b"adios"))
    for place, step in ((dump, "_copy_pages"), (module, "_seal"), (module, "_replace")):
        with monkeypatch.context() as broken:
            broken.setattr(place, step, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                backup(live.hub, live.data, target)
    # killed between the two renames
    (target / "records").rename(target / "records.old")
    assert restored(target, tmp_path / "again", reopen).files(one) == before
    backup(live.hub, live.data, target)
    assert restored(target, tmp_path / "newer", reopen).files(one)["a.txt"] == b"adios"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_clients_of_xet_begin_anew_after_a_restore(live: Place, tmp_path: Path, reopen: list[Place]) -> None:
    one = live.repo("becas")
    with live.database.writing() as session:
        before = open_store(session, 1)
        session.add(Xorb(account_id=1, hash="x", size=1, stored=True, chunks=b"", created_at=now()))
        session.add(Multipart(id="m", repo_id=one, sha256="x", size=1, chunk_size=1, created_at=now()))
    backup(live.hub, live.data, tmp_path / "saved")
    again = restored(tmp_path / "saved", tmp_path / "again", reopen)
    with again.database.writing() as session:
        assert session.query(Xorb).count() == session.query(Multipart).count() == 0
        assert store_id(session, 1) != before
        assert open_store(session, 1) != before


def test_folders_that_are_not_what_they_should_be_are_refused(live: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="within"):
        backup(live.hub, live.data, live.data / "saved")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="other files"):
        backup(live.hub, live.data, tmp_path / "full")
    with pytest.raises(UsageError, match="no whole backup"):
        restore(tmp_path / "full", tmp_path / "again")
    backup(live.hub, live.data, tmp_path / "saved")
    with pytest.raises(UsageError, match="not empty"):
        restore(tmp_path / "saved", live.data)
    (tmp_path / "saved" / "records" / "backup.json").write_text('{"format": 2}')
    with pytest.raises(UsageError, match="newer"):
        restore(tmp_path / "saved", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_database_is_not_taken_for_a_backup(live: Place, tmp_path: Path) -> None:
    live.repo("becas")
    live.database.close()
    with sqlite3.connect(live.data / "lanza.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (live.data / "lanza.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises((UsageError, sqlite3.DatabaseError)):
        backup(live.hub, live.data, tmp_path / "saved")
    assert not (tmp_path / "saved" / "records").exists()


def test_records_and_large_files_go_where_they_are_told(
    live: Place, tmp_path: Path, reopen: list[Place]
) -> None:
    """Another database, and another place for large files than the new data folder."""
    one = live.repo("becas")
    live.push(one, Put("a.txt", b"hola"), live.large(one, "w.bin", WEIGHTS))
    gone = live.repo("gone")
    live.remove(gone)
    backup(live.hub, live.data, tmp_path / "saved")
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        again = tmp_path / "again"
        assert (
            restore(tmp_path / "saved", again, database=database, storage=str(tmp_path / "large")).problems
            == ()
        )
        assert not (again / "lanza.db").exists()
        assert not (again / "blobs").exists()
        assert (tmp_path / "large" / key_of(sha(WEIGHTS))).read_bytes() == WEIGHTS
        with database.writing() as session:
            assert session.get_one(Repo, one).card is None
            session.add(Account(key="eva", name="eva", kind="user", created_at=now()))
            numbers = dict(session.execute(text("SELECT name, seq FROM sqlite_sequence")).all())
        assert numbers["repos"] == gone  # that number was given, and is not again
        with pytest.raises(UsageError, match="has records already"):
            restore(tmp_path / "saved", tmp_path / "third", database=database)
        assert not (tmp_path / "third").exists()
    finally:
        database.close()


def test_a_database_that_is_not_there_is_said(live: Place, tmp_path: Path) -> None:
    backup(live.hub, live.data, tmp_path / "saved")
    nowhere = Database(f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    with pytest.raises(Unavailable, match="cannot be read"):
        restore(tmp_path / "saved", tmp_path / "again", database=nowhere)
