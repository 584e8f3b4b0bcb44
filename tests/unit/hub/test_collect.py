"""What nobody needs goes in time; what a commit or a running upload needs stays."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

import hub_parts
from hub_parts import keep, push
from hub_records import model
from lanza.database import now
from lanza.errors import RepoNotFound
from lanza.hub import collect, lfs, multipart, repos
from lanza.hub.collect import Collected
from lanza.hub.git import Delete, Put, PutLarge
from lanza.hub.hub import Hub
from lanza.hub.lfs import Large
from lanza.hub.records import Blob, HubState, Multipart, RepoBlob, Xorb
from lanza.hub.xet import assembly, store
from lanza.hub.xet.formats import read_shard
from xet_files import file, shard, xorb

DAY = timedelta(days=1)
CONTENT = random.Random(6).randbytes(10_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOTHING = Collected(blobs=0, bytes=0, released=0, uploads=0, git_bytes=0, folders=0)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """Ana has a model."""
    made = hub_parts.hub(tmp_path)
    repos.create(made, hub_parts.person(made, "ana"), model("ana/becas"))
    return made


@pytest.fixture
def becas(hub: Hub) -> int:
    return hub_parts.record(hub, "ana/becas").id


def pass_time(hub: Hub, days: float = 2) -> None:
    """Make all that is there older."""
    earlier = timedelta(days=days)
    with hub.database.writing() as session:
        for table in (Blob, RepoBlob, Multipart, Xorb):
            for row in session.scalars(select(table)):
                row.created_at -= earlier  # type: ignore[attr-defined]
        for state in session.scalars(select(HubState).where(HubState.name.startswith(f"{store.USED}:"))):
            state.value = (now() - earlier).isoformat()
    for path in hub.blobs.staging.rglob("*"):
        if path.is_file():
            before = path.stat().st_mtime - earlier.total_seconds()
            os.utime(path, (before, before))


def commit_large(hub: Hub, number: int, path: str = "model.bin", branch: str = "main") -> None:
    change = PutLarge(path, SHA256, len(CONTENT))
    hub.git.open(number).commit(branch, [change], author="ana", title="add")


def reached(hub: Hub, number: int) -> bool:
    with hub.database.reading() as session:
        return session.get(RepoBlob, (number, SHA256)) is not None


def test_what_a_commit_names_stays_for_ever(hub: Hub, becas: int) -> None:
    push(hub, becas, {}, large={"model.bin": CONTENT})
    for _ in range(3):
        pass_time(hub)
        assert collect.collect(hub, older_than=DAY) == NOTHING
    assert hub.blobs.has(SHA256)


def test_what_only_an_old_commit_a_branch_or_a_tag_names_stays(hub: Hub, becas: int) -> None:
    git = hub.git.open(becas)
    keep(hub, becas, CONTENT)
    git.create_branch("other")
    commit_large(hub, becas, branch="other")
    git.create_tag("v1", "other", "a version")
    git.delete_branch("other")
    for _ in range(3):
        pass_time(hub)
        assert collect.collect(hub, older_than=DAY) == NOTHING
    commit_large(hub, becas)
    git.commit("main", [Delete("model.bin")], author="ana", title="remove")
    git.delete_tag("v1")
    for _ in range(3):
        pass_time(hub)
        assert replace(collect.collect(hub, older_than=DAY), git_bytes=0) == NOTHING
    assert hub.blobs.has(SHA256)


def test_what_nobody_committed_goes_in_two_steps(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    assert collect.collect(hub, older_than=DAY) == NOTHING
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY) == replace(NOTHING, released=1)
    assert hub.blobs.has(SHA256)
    assert not reached(hub, becas)
    assert collect.collect(hub, older_than=DAY) == NOTHING
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY) == replace(NOTHING, blobs=1, bytes=10_000)
    assert not hub.blobs.has(SHA256)
    with hub.database.reading() as session:
        assert session.get(Blob, SHA256) is None


def test_a_commit_that_was_being_made_during_the_first_step_keeps_its_blob(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    pass_time(hub)
    collect.collect(hub, older_than=DAY)
    commit_large(hub, becas)
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY) == NOTHING
    assert hub.blobs.has(SHA256)
    assert reached(hub, becas)


def test_without_a_grace_period_both_steps_are_one(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    assert collect.collect(hub, older_than=timedelta()).blobs == 1
    assert not hub.blobs.has(SHA256)


def test_sending_a_file_again_begins_its_grace_period_anew(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    pass_time(hub)
    lfs.record(hub, becas, [Large(sha256=SHA256, size=len(CONTENT))])
    assert collect.collect(hub, older_than=DAY) == NOTHING
    assert reached(hub, becas)


def test_the_blobs_of_a_removed_repository_go(hub: Hub, becas: int) -> None:
    push(hub, becas, {}, large={"model.bin": CONTENT})
    repos.create(hub, hub_parts.person(hub, "eva"), model("eva/copy"))
    copy = hub_parts.record(hub, "eva/copy").id
    push(hub, copy, {}, large={"model.bin": CONTENT})
    repos.remove(hub, ana(hub), model("ana/becas"))
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY) == NOTHING
    hub.git.open(copy).squash("main", "all", "eva")
    with hub.database.writing() as session:
        session.delete(session.get_one(RepoBlob, (copy, SHA256)))
    assert replace(collect.collect(hub, older_than=DAY), git_bytes=0) == NOTHING
    assert reached(hub, copy)  # a commit names it: it is given back


def ana(hub: Hub) -> hub_parts.Principal:
    from lanza.auth.records import Account

    with hub.database.reading() as session:
        return hub_parts.principal(session.scalars(select(Account).where(Account.key == "ana")).one())


def test_a_blob_without_any_record_goes_too(hub: Hub) -> None:
    hub.blobs.write(SHA256, len(CONTENT), [CONTENT])
    assert collect.collect(hub, older_than=DAY) == NOTHING
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY).blobs == 1
    assert not hub.blobs.has(SHA256)
    with hub.database.reading() as session:
        assert session.get(Blob, SHA256) is None


def test_nothing_goes_while_a_repository_cannot_be_read(hub: Hub, becas: int) -> None:
    push(hub, becas, {}, large={"model.bin": CONTENT})
    hub.git.remove(becas)
    pass_time(hub)
    with pytest.raises(RepoNotFound):
        collect.collect(hub, older_than=DAY)
    assert hub.blobs.has(SHA256)
    assert reached(hub, becas)


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def send_xorb(hub: Hub, account: int) -> str:
    name, data = xorb([CONTENT])
    asyncio.run(store.receive(hub, account, name, pieces(data)))
    return name


def store_of(hub: Hub, account: int) -> str:
    with hub.database.writing() as session:
        return store.open_store(session, account)


def test_a_store_begins_afresh_when_a_blob_with_its_chunks_goes(hub: Hub, becas: int) -> None:
    account = ana(hub).account_id
    assert account is not None
    before = store_of(hub, account)
    name = send_xorb(hub, account)
    assembly.register(hub, account, becas, read_shard(shard(file(CONTENT, [(name, 0, 1, len(CONTENT))]))))
    for _ in range(2):
        pass_time(hub)
        collect.collect(hub, older_than=DAY)
    assert not hub.blobs.has(SHA256)
    assert store_of(hub, account) != before
    with hub.database.reading() as session:
        assert session.scalars(select(Xorb)).all() == []


def test_a_blob_stays_while_a_client_may_name_its_chunks(hub: Hub, becas: int) -> None:
    account = ana(hub).account_id
    assert account is not None
    before = store_of(hub, account)
    name = send_xorb(hub, account)
    made = shard(file(CONTENT, [(name, 0, 1, len(CONTENT))]))
    assembly.register(hub, account, becas, read_shard(made))
    pass_time(hub)
    collect.collect(hub, older_than=DAY)
    pass_time(hub)
    assert store_of(hub, account) == before  # a new upload begins
    assert collect.collect(hub, older_than=DAY) == NOTHING
    assembly.register(hub, account, becas, read_shard(made))
    assert reached(hub, becas)


def test_xorbs_that_were_given_up_go_and_their_store_begins_afresh(hub: Hub) -> None:
    account = ana(hub).account_id
    assert account is not None
    before = store_of(hub, account)
    name = send_xorb(hub, account)
    path = store.xorbs_folder(hub, account) / name
    assert collect.collect(hub, older_than=DAY) == NOTHING
    assert path.exists()
    pass_time(hub)
    collect.collect(hub, older_than=DAY)
    assert not path.exists()
    assert store_of(hub, account) != before


def test_xorbs_of_a_running_upload_stay(hub: Hub) -> None:
    account = ana(hub).account_id
    assert account is not None
    name = send_xorb(hub, account)
    pass_time(hub)
    before = store_of(hub, account)
    collect.collect(hub, older_than=DAY)
    assert (store.xorbs_folder(hub, account) / name).exists()
    assert store_of(hub, account) == before


def test_files_of_xorbs_and_parts_that_nobody_knows_go(hub: Hub) -> None:
    strays = [hub.blobs.staging / "xorbs" / "7" / "stray", hub.blobs.staging / "parts" / "stray"]
    for path in strays:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    assert collect.collect(hub, older_than=DAY).uploads == 0
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY).uploads == 2
    assert not any(path.exists() for path in strays)


def test_uploads_in_parts_that_were_given_up_go(hub: Hub, becas: int) -> None:
    with hub.database.writing() as session:
        begun = multipart.begin_parts(session, becas, Large(sha256=SHA256, size=len(CONTENT))).id
    path, come = multipart.files_of(hub, begun)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    come.write_bytes(b"\1")
    pass_time(hub)
    os.utime(path)  # a part has just come
    assert collect.collect(hub, older_than=DAY).uploads == 0
    assert path.exists()
    assert come.exists()
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY).uploads == 2
    assert not list(path.parent.iterdir())
    with hub.database.reading() as session:
        assert session.get(Multipart, begun) is None


def test_verifying_finds_what_is_damaged_and_what_is_missing(hub: Hub, becas: int) -> None:
    push(hub, becas, {"README.md": b"hi"}, large={"model.bin": CONTENT, "other.bin": b"other"})
    assert collect.verify(hub) == []
    path = hub.blobs.path(SHA256)
    assert path is not None
    path.write_bytes(CONTENT[:-1] + b"x")
    other = hashlib.sha256(b"other").hexdigest()
    hub.blobs.delete(other)
    found = {(problem.kind, problem.sha256, problem.repo) for problem in collect.verify(hub)}
    assert found == {("damaged", SHA256, ""), ("missing", other, "ana/becas")}


def test_usage_tells_what_sharing_saves(hub: Hub, becas: int) -> None:
    push(hub, becas, {}, large={"a.bin": CONTENT, "b.bin": CONTENT})
    repos.create(hub, hub_parts.person(hub, "eva"), model("eva/copy"))
    push(hub, hub_parts.record(hub, "eva/copy").id, {}, large={"a.bin": CONTENT})
    account = ana(hub).account_id
    assert account is not None
    send_xorb(hub, account)
    usage = collect.usage(hub)
    assert (usage.logical, usage.stored) == (20_000, 10_000)
    assert usage.waiting >= 10_000


def test_a_file_that_is_no_pointer_holds_nothing(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    hub.git.open(becas).commit("main", [Put("notes.txt", SHA256.encode())], author="ana", title="notes")
    pass_time(hub)
    assert collect.collect(hub, older_than=DAY).released == 1


def test_a_moment_that_is_younger_in_the_database_keeps_an_old_file(hub: Hub, becas: int) -> None:
    keep(hub, becas, CONTENT)
    pass_time(hub)
    with hub.database.writing() as session:
        session.delete(session.get_one(RepoBlob, (becas, SHA256)))
        session.execute(update(Blob).values(created_at=now()))
    assert collect.collect(hub, older_than=DAY) == NOTHING
    assert hub.blobs.has(SHA256)
