"""Repositories as wholes: nothing half made, nothing taken from others, no name that misleads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from hub_parts import CARD, hub, keep, organization, person, push, record
from hub_records import model, principal
from lanza.auth.principal import ANONYMOUS, Principal, Role
from lanza.auth.records import Account
from lanza.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Gated,
    NotFound,
    QuotaExceeded,
    RepoNotFound,
    Unauthorized,
)
from lanza.hub import repos
from lanza.hub.access import find_repo
from lanza.hub.git import GitStore
from lanza.hub.hub import Hub, HubLimits
from lanza.hub.names import Kind
from lanza.hub.records import Like, Redirect, Repo, RepoBlob, RepoTag
from lanza.hub.repos import Changes


@pytest.fixture
def made(tmp_path: Path) -> Hub:
    return hub(tmp_path)


@pytest.fixture
def ana(made: Hub) -> Principal:
    for name in ("lab", "club"):
        organization(made, name)
    return person(made, "Ana", lab="write", club="read")


@pytest.fixture
def eva(made: Hub) -> Principal:
    return person(made, "eva")


def test_a_new_repository_has_a_first_commit_and_a_record_of_it(made: Hub, ana: Principal) -> None:
    name = repos.create(made, ana, model("ana/becas"))
    assert name.id == "Ana/becas"
    new = record(made, "ana/becas")
    assert new.head == made.git.open(new.id).resolve("main").oid
    assert (new.visibility, new.gated, new.likes, new.downloads) == ("public", "", 0, 0)
    assert new.stored_bytes > 0


def test_names_are_one_whatever_their_case_and_each_kind_has_its_own(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/becas"))
    with pytest.raises(Conflict, match="there already"):
        repos.create(made, ana, model("ana/BECAS"))
    repos.create(made, ana, model("Ana/becas", Kind.DATASET))


@pytest.mark.parametrize("name", ["ana/x.git", "ana/..", "ana/a--b", "ana/" + "x" * 97, "becas", "ana/-x"])
def test_names_that_mislead_are_refused(made: Hub, ana: Principal, name: str) -> None:
    with pytest.raises(BadRequest):
        repos.create(made, ana, model(name))


def test_a_namespace_is_for_those_who_may_write_there(made: Hub, ana: Principal, eva: Principal) -> None:
    repos.create(made, ana, model("lab/uno"))
    for caller, name, error in (
        (eva, "Ana/x", Forbidden),
        (ana, "club/x", Forbidden),
        (ana, "nobody/x", Forbidden),
        (ANONYMOUS, "Ana/x", Unauthorized),
    ):
        with pytest.raises(error):
            repos.create(made, caller, model(name))


def test_an_administrator_makes_none_where_nobody_lives(made: Hub, ana: Principal) -> None:
    with made.database.reading() as session:
        root = principal(session.get_one(Account, ana.account_id), role=Role.ADMIN, admin=True)
    repos.create(made, root, model("club/x"))
    with pytest.raises(NotFound, match="nobody"):
        repos.create(made, root, model("nobody/x"))


def test_what_a_killed_server_left_is_not_taken_for_the_new_repository(made: Hub, ana: Principal) -> None:
    made.git.create(1, author="ghost")
    repos.create(made, ana, model("Ana/becas"))
    new = record(made, "Ana/becas")
    assert new.id == 1
    assert [it.author for it in made.git.open(1).log(made.git.open(1).resolve("main"), limit=9)] == ["Ana"]


def test_a_repository_that_cannot_be_written_is_not_there(
    made: Hub, ana: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GitStore, "create", full)
    with pytest.raises(OSError, match="No space"):
        repos.create(made, ana, model("Ana/becas"))
    with made.database.reading() as session, pytest.raises(RepoNotFound):
        find_repo(session, ana, model("Ana/becas"))


def test_what_is_removed_is_gone_with_all_that_hung_on_it(made: Hub, ana: Principal, eva: Principal) -> None:
    repos.create(made, ana, model("Ana/becas"))
    number = record(made, "Ana/becas").id
    push(made, number, {"README.md": CARD})
    with made.database.writing() as session:
        repos.like(session, eva, model("Ana/becas"), likes=True)
    with pytest.raises(Forbidden):
        repos.remove(made, eva, model("Ana/becas"))
    repos.remove(made, ana, model("Ana/becas"))
    with made.database.reading() as session:
        assert [session.scalars(select(it)).all() for it in (Repo, RepoTag, Like)] == [[], [], []]
    with pytest.raises(RepoNotFound):
        made.git.open(number)
    with pytest.raises(RepoNotFound):
        repos.remove(made, ana, model("Ana/becas"))


def test_a_moved_repository_keeps_its_files_and_answers_to_its_old_name(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/antes"))
    head = record(made, "Ana/antes").head
    assert repos.move(made, ana, model("Ana/antes"), model("LAB/ahora")).id == "lab/ahora"
    with made.database.reading() as session:
        found = find_repo(session, ana, model("ana/ANTES"))
        assert (found.key, found.head) == ("lab/ahora", head)
        assert found.owner_id == session.scalars(select(Account.id).where(Account.key == "lab")).one()


def test_an_old_name_removes_and_moves_nothing(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/antes"))
    repos.move(made, ana, model("Ana/antes"), model("Ana/ahora"))
    with pytest.raises(RepoNotFound, match="Ana/ahora"):
        repos.remove(made, ana, model("Ana/antes"))
    with pytest.raises(RepoNotFound, match="Ana/ahora"):
        repos.move(made, ana, model("Ana/antes"), model("Ana/luego"))
    assert record(made, "Ana/ahora")


def test_an_old_name_may_be_taken_and_means_the_new_repository_then(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/antes"))
    repos.move(made, ana, model("Ana/antes"), model("Ana/ahora"))
    repos.create(made, ana, model("Ana/antes"))
    with made.database.reading() as session:
        assert find_repo(session, ana, model("Ana/antes")).key == "ana/antes"
        assert session.scalars(select(Redirect)).all() == []


def test_a_repository_moves_there_and_back(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"))
    for start, end in (("Ana/uno", "Ana/dos"), ("Ana/dos", "Ana/tres"), ("Ana/tres", "Ana/uno")):
        repos.move(made, ana, model(start), model(end))
    with made.database.reading() as session:
        assert {it.key for it in session.scalars(select(Redirect))} == {"ana/dos", "ana/tres"}
        assert find_repo(session, ana, model("Ana/dos")).key == "ana/uno"
    assert repos.move(made, ana, model("Ana/uno"), model("Ana/UNO")).id == "Ana/UNO"


def test_nothing_is_moved_over_another_or_to_where_one_may_not_write(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"))
    repos.create(made, ana, model("Ana/dos"))
    for target, error in (("Ana/dos", Conflict), ("club/uno", Forbidden), ("Ana/a--b", BadRequest)):
        with pytest.raises(error):
            repos.move(made, ana, model("Ana/uno"), model(target))
    assert record(made, "Ana/uno")


def test_a_copy_has_the_history_the_blobs_and_the_visibility(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"), visibility="private")
    source = record(made, "Ana/uno")
    head = push(made, source.id, {"README.md": CARD}, large={"pesos.bin": b"\0" * 5000})
    repos.duplicate(made, ana, model("Ana/uno"), model("lab/copia"))
    copy = record(made, "lab/copia")
    assert (copy.head, copy.visibility, copy.pipeline_tag) == (head.oid, "private", "question-answering")
    with made.database.reading() as session:
        assert len(session.scalars(select(RepoBlob).where(RepoBlob.repo_id == copy.id)).all()) == 1
    push(made, copy.id, {"x.txt": b"x"})
    assert record(made, "Ana/uno").head == head.oid


def test_what_one_may_not_read_one_may_not_copy(made: Hub, ana: Principal, eva: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"))
    with made.database.writing() as session:
        repos.change(session, ana, model("Ana/uno"), Changes(gated="manual"))
    with pytest.raises(Gated):
        repos.duplicate(made, eva, model("Ana/uno"), model("eva/uno"))
    with made.database.writing() as session:
        repos.change(session, ana, model("Ana/uno"), Changes(visibility="private"))
    with pytest.raises(RepoNotFound):
        repos.duplicate(made, eva, model("Ana/uno"), model("eva/uno"))


def test_settings_change_what_they_name_and_have_only_good_values(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"))
    with made.database.writing() as session:
        repos.change(session, ana, model("Ana/uno"), Changes(gated="auto"))
        repos.change(session, ana, model("Ana/uno"), Changes(visibility="private"))
    assert (record(made, "Ana/uno").gated, record(made, "Ana/uno").visibility) == ("auto", "private")
    for changes in (Changes(visibility="protected"), Changes(gated="maybe")):
        with made.database.writing() as session, pytest.raises(BadRequest):
            repos.change(session, ana, model("Ana/uno"), changes)


def test_likes_are_counted_once_for_each_who_likes(made: Hub, ana: Principal, eva: Principal) -> None:
    repos.create(made, ana, model("Ana/uno"))
    for caller, likes, count in (
        (ana, True, 1),
        (ana, True, 1),
        (eva, True, 2),
        (ana, False, 1),
        (ana, False, 1),
    ):
        with made.database.writing() as session:
            repos.like(session, caller, model("Ana/uno"), likes=likes)
        assert record(made, "Ana/uno").likes == count
    with made.database.writing() as session, pytest.raises(Unauthorized):
        repos.like(session, ANONYMOUS, model("Ana/uno"), likes=True)


def test_a_full_namespace_takes_no_copy_and_no_move(tmp_path: Path) -> None:
    small = hub(tmp_path, limits=HubLimits(account_bytes=30_000))
    organization(small, "lab")
    ana = person(small, "Ana", lab="write")
    repos.create(small, ana, model("Ana/uno"))
    repos.create(small, ana, model("lab/lleno"))
    for name in ("Ana/uno", "lab/lleno"):
        keep(small, record(small, name).id, name.encode() * 2000)
        push(small, record(small, name).id, {"x.txt": b"x"})
    size = record(small, "lab/lleno").stored_bytes
    said = rf"lab stores {size:,} of at most 30,000 bytes, .* \(the largest public ones: lab/lleno with"
    with pytest.raises(QuotaExceeded, match=said):
        repos.duplicate(small, ana, model("Ana/uno"), model("lab/uno"))
    with pytest.raises(QuotaExceeded):
        repos.move(small, ana, model("Ana/uno"), model("lab/uno"))
    assert record(small, "Ana/uno")
    with small.database.writing() as session:
        found = {one.namespace: one for one in repos.usage(session, small)}
        session.get_one(Repo, record(small, "lab/lleno").id).visibility = "private"
    assert found["lab"] == repos.Usage(namespace="lab", repositories=1, stored_bytes=size, limit_bytes=30_000)
    with pytest.raises(QuotaExceeded) as refused:
        repos.duplicate(small, ana, model("Ana/uno"), model("lab/uno"))
    assert "lab/lleno" not in refused.value.message


def test_of_two_who_want_a_name_at_once_one_has_it(made: Hub, ana: Principal) -> None:
    def take(_: int) -> bool:
        try:
            repos.create(made, ana, model("Ana/becas"))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(take, range(8))) == [False] * 7 + [True]
    new = record(made, "Ana/becas")
    assert new.head == made.git.open(new.id).resolve("main").oid


def test_pushes_at_once_leave_the_record_at_the_head(made: Hub, ana: Principal) -> None:
    repos.create(made, ana, model("Ana/becas"))
    number = record(made, "Ana/becas").id
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda it: push(made, number, {f"{it}.txt": b"x"}), range(8)))
    git = made.git.open(number)
    assert record(made, "Ana/becas").head == git.resolve("main").oid
    assert len(list(git.entries(git.resolve("main"), recursive=True))) == 9
