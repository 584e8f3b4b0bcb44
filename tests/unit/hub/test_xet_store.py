"""Chunks that an account sends become files of repositories, and nobody else's; nothing is stored twice."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

import hub_parts
from hub_records import model
from lanza.auth.records import Account
from lanza.errors import BadRequest, NotFound, QuotaExceeded
from lanza.hub import repos
from lanza.hub.hub import Hub
from lanza.hub.records import RepoBlob, Xorb
from lanza.hub.xet import assembly, store
from lanza.hub.xet.chunks import Chunks
from lanza.hub.xet.formats import read_shard
from xet_files import Range, file, shard, xorb

NOISE = random.Random(3)
CHUNKS = [NOISE.randbytes(size) for size in (1000, 2000, 3000, 4000, 5000)]
WHOLE = b"".join(CHUNKS)


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """What one account sends to one repository."""

    hub: Hub
    account: int
    repo: int

    def send(self, chunks: Sequence[bytes], schemes: Sequence[int] = ()) -> str:
        """Send chunks as a xorb; gives its hash."""
        name, data = xorb(chunks, schemes)
        asyncio.run(store.receive(self.hub, self.account, name, pieces(data)))
        return name

    def register(self, *files: bytes, xorbs: Sequence[str] = ()) -> None:
        assembly.register(self.hub, self.account, self.repo, read_shard(shard(*files, xorbs=xorbs)))

    def reaches(self, content: bytes) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        with self.hub.database.reading() as session:
            reached = session.get(RepoBlob, (self.repo, sha256)) is not None
        return reached and b"".join(self.hub.blobs.read(sha256)) == content

    @property
    def waiting(self) -> list[str]:
        """The xorbs that still have files of their own."""
        return sorted(path.name for path in store.xorbs_folder(self.hub, self.account).glob("*"))

    @property
    def id(self) -> str | None:
        with self.hub.database.reading() as session:
            return store.store_id(session, self.account)


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 3333):
        yield data[start : start + 3333]


def of(name: str, first: int, last: int, chunks: Sequence[bytes] = CHUNKS) -> Range:
    return name, first, last, sum(map(len, chunks[first:last]))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return hub_parts.hub(tmp_path)


def uploads(hub: Hub, name: str) -> Uploads:
    """Of a new user, to their first model."""
    user = hub_parts.person(hub, name)
    repos.create(hub, user, model(f"{name}/becas"))
    assert user.account_id is not None
    with hub.database.writing() as session:
        store.open_store(session, user.account_id)
    return Uploads(hub=hub, account=user.account_id, repo=hub_parts.record(hub, f"{name}/becas").id)


@pytest.fixture
def ana(hub: Hub) -> Uploads:
    return uploads(hub, "ana")


def test_a_file_is_put_together_of_chunks_and_its_xorb_goes(ana: Uploads) -> None:
    name = ana.send(CHUNKS, [0, 1, 2, 1, 0])
    assert ana.waiting == [name]
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert ana.reaches(WHOLE)
    assert ana.waiting == []


def test_files_of_several_xorbs_in_any_order_share_chunks(ana: Uploads) -> None:
    first, second = ana.send(CHUNKS[:3]), ana.send(CHUNKS[3:])
    mixed = CHUNKS[4] + CHUNKS[0] + CHUNKS[1] + CHUNKS[1] + CHUNKS[3]
    ana.register(
        file(WHOLE, [of(first, 0, 3), of(second, 0, 2, CHUNKS[3:])]),
        file(
            mixed,
            [
                of(second, 1, 2, CHUNKS[3:]),
                of(first, 0, 2),
                of(first, 1, 2),
                of(second, 0, 1, CHUNKS[3:]),
            ],
        ),
    )
    assert ana.reaches(WHOLE)
    assert ana.reaches(mixed)
    assert ana.waiting == []


def test_chunks_whose_xorb_is_gone_still_make_new_files(ana: Uploads) -> None:
    old = ana.send(CHUNKS)
    ana.register(file(WHOLE, [of(old, 0, 5)]))
    new = [NOISE.randbytes(700)]
    added = ana.send(new)
    changed = CHUNKS[0] + new[0] + b"".join(CHUNKS[2:])
    ana.register(file(changed, [of(old, 0, 1), (added, 0, 1, 700), of(old, 2, 5)]))
    assert ana.reaches(changed)
    assert ana.waiting == []


def test_a_xorb_waits_until_all_of_its_chunks_are_in_files(ana: Uploads) -> None:
    name = ana.send(CHUNKS)
    ana.register(file(CHUNKS[1], [of(name, 1, 2)]))
    assert ana.waiting == [name]
    ana.register(file(b"".join(CHUNKS[2:]), [of(name, 2, 5)]), file(CHUNKS[0], [of(name, 0, 1)]))
    assert ana.waiting == []
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert ana.reaches(WHOLE)


def test_chunks_that_were_sent_twice_need_not_wait_for_a_file(ana: Uploads) -> None:
    first, second = ana.send(CHUNKS), ana.send([CHUNKS[3], CHUNKS[1]])
    third = ana.send([CHUNKS[0], b"in no file"])
    ana.register(file(WHOLE, [of(first, 0, 5)]), xorbs=[first, second, third])
    assert ana.waiting == [third]
    again = CHUNKS[3] + CHUNKS[1]
    ana.register(file(again, [(second, 0, 2, len(again))]))
    assert ana.reaches(again)
    ana.register(file(CHUNKS[0] + b"in no file", [(third, 0, 2, len(CHUNKS[0]) + 10)]))
    assert ana.waiting == []


def test_an_empty_file_needs_no_chunks(ana: Uploads) -> None:
    ana.register(file(b"", []))
    assert ana.reaches(b"")


def test_a_xorb_that_is_known_is_not_taken_again(ana: Uploads) -> None:
    name, data = xorb(CHUNKS)
    assert asyncio.run(store.receive(ana.hub, ana.account, name, pieces(data)))
    assert not asyncio.run(store.receive(ana.hub, ana.account, name, pieces(data)))
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert not asyncio.run(store.receive(ana.hub, ana.account, name, pieces(data)))
    assert ana.waiting == []


def test_a_xorb_whose_file_was_lost_is_taken_again(ana: Uploads) -> None:
    name, data = xorb(CHUNKS)
    ana.send(CHUNKS)
    (store.xorbs_folder(ana.hub, ana.account) / name).write_bytes(b"cut off")
    assert asyncio.run(store.receive(ana.hub, ana.account, name, pieces(data)))
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert ana.reaches(WHOLE)


def test_a_xorb_that_lies_about_its_hash_leaves_nothing(ana: Uploads) -> None:
    _, data = xorb(CHUNKS)
    with pytest.raises(BadRequest, match="has the hash"):
        asyncio.run(store.receive(ana.hub, ana.account, "0" * 64, pieces(data)))
    with pytest.raises(BadRequest, match="cut off"):
        asyncio.run(store.receive(ana.hub, ana.account, "0" * 64, pieces(data[:-1])))
    assert ana.waiting == []
    with ana.hub.database.reading() as session:
        assert session.scalars(select(Xorb)).all() == []


def test_nobody_makes_files_of_anothers_chunks(hub: Hub, ana: Uploads) -> None:
    eva = uploads(hub, "eva")
    name = ana.send(CHUNKS)
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    with pytest.raises(BadRequest, match="missing"):
        eva.register(file(WHOLE, [of(name, 0, 5)]))
    assert not eva.reaches(WHOLE)
    eva.send(CHUNKS)
    eva.register(file(WHOLE, [of(name, 0, 5)]))
    assert eva.reaches(WHOLE)
    assert len(list(hub.blobs.all())) == 1


def test_who_cannot_show_the_bytes_gets_no_blob_by_its_hash(hub: Hub, ana: Uploads) -> None:
    eva = uploads(hub, "eva")
    ana.register(file(WHOLE, [of(ana.send(CHUNKS), 0, 5)]))
    other = [NOISE.randbytes(len(WHOLE))]
    claimed = hashlib.sha256(WHOLE).hexdigest()
    with pytest.raises(BadRequest, match="has the SHA-256"):
        eva.register(file(other[0], [of(eva.send(other), 0, 1, other)], sha256=claimed))
    assert not eva.reaches(WHOLE)


def test_stores_of_different_accounts_have_different_ids(hub: Hub, ana: Uploads) -> None:
    eva = uploads(hub, "eva")
    assert ana.id
    assert eva.id
    assert ana.id != eva.id


def test_the_id_stays_until_something_is_lost(ana: Uploads) -> None:
    before = ana.id
    name = ana.send(CHUNKS)
    ana.register(file(WHOLE, [of(name, 0, 5)]))
    with ana.hub.database.writing() as session:
        assert store.open_store(session, ana.account) == before
    store.start_afresh(ana.hub, ana.account)
    assert ana.id not in (None, before)


@pytest.mark.parametrize(
    "ranges",
    [
        [("0" * 64, 0, 1, 1000)],
        [("NAME", 0, 6, 15_000)],
        [("NAME", 0, 5, 14_999)],
    ],
)
def test_a_file_that_cannot_be_made_begins_the_store_afresh(ana: Uploads, ranges: list[Range]) -> None:
    name = ana.send(CHUNKS)
    before = ana.id
    named = [(name if it[0] == "NAME" else it[0], *it[1:]) for it in ranges]
    with pytest.raises(BadRequest, match="Run the upload again"):
        ana.register(file(WHOLE, named))
    assert ana.id != before
    assert ana.waiting == []
    again = ana.send(CHUNKS)
    ana.register(file(WHOLE, [of(again, 0, 5)]))
    assert ana.reaches(WHOLE)


def test_a_lost_blob_is_found_out_and_the_next_upload_brings_it_back(ana: Uploads) -> None:
    name = ana.send(CHUNKS)
    whole = file(WHOLE, [of(name, 0, 5)])
    ana.register(whole)
    ana.hub.blobs.delete(hashlib.sha256(WHOLE).hexdigest())
    with pytest.raises(BadRequest, match="Run the upload again"):
        ana.register(whole)
    ana.send(CHUNKS)
    ana.register(whole)
    assert ana.reaches(WHOLE)


def test_asking_twice_for_the_same_does_it_once(ana: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = file(WHOLE, [of(ana.send(CHUNKS), 0, 5)])
    ana.register(whole)
    monkeypatch.setattr(assembly, "_content", None)  # would fail
    ana.register(whole)
    assert ana.reaches(WHOLE)


def test_a_damaged_xorb_makes_no_file(ana: Uploads) -> None:
    name = ana.send(CHUNKS)
    path = store.xorbs_folder(ana.hub, ana.account) / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadRequest, match="has the SHA-256"):
        ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert list(ana.hub.blobs.all()) == []


def test_a_namespace_without_room_takes_no_file(ana: Uploads) -> None:
    with ana.hub.database.writing() as session:
        session.get_one(Account, ana.account).quota_bytes = len(WHOLE) - 1
    name = ana.send(CHUNKS)
    before = ana.id
    with pytest.raises(QuotaExceeded):
        ana.register(file(WHOLE, [of(name, 0, 5)]))
    assert ana.id == before
    assert list(ana.hub.blobs.all()) == []


def test_a_repository_that_was_removed_meanwhile_takes_no_file(ana: Uploads) -> None:
    name = ana.send(CHUNKS)
    with pytest.raises(NotFound, match="removed"):
        assembly.register(ana.hub, ana.account, 999, read_shard(shard(file(WHOLE, [of(name, 0, 5)]))))


def test_where_the_chunks_went_is_recorded_in_one_span(ana: Uploads) -> None:
    name = ana.send(CHUNKS)
    ana.register(file(WHOLE, [of(name, 0, 2), of(name, 2, 5)]))
    with ana.hub.database.reading() as session:
        row = session.get_one(Xorb, (ana.account, name))
        assert not row.stored
        chunks = Chunks.unpack(row.chunks)
    assert len(chunks.spans) == 1
    assert not chunks.hashes
