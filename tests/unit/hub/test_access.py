"""Who sees a repository, may change it, and may read its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub_records import FIRST, account, database, fine_grained, model, principal, repo
from lanza.auth.principal import ANONYMOUS, Principal, Role, Scope
from lanza.auth.records import Account
from lanza.errors import Forbidden, Gated, RepoNotFound, Unauthorized
from lanza.hub.access import check_content, find_repo, may_see, visible
from lanza.hub.names import Kind
from lanza.hub.records import AccessRequest, Redirect, Repo


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Ana has a public, a private and a gated model; Eva has nothing; `lab` is an organization of Ana's."""
    with database(tmp_path).writing() as opened:
        for name in ("Ana", "eva"):
            account(opened, name)
        account(opened, "lab", kind="org")
        repo(opened, "Ana/Open")
        repo(opened, "Ana/hidden", visibility="private")
        repo(opened, "Ana/gated", gated="manual")
        repo(opened, "lab/inner", visibility="private")
        yield opened


def named(session: Session, name: str) -> Account:
    return session.scalars(select(Account).where(Account.key == name)).one()


@pytest.fixture
def ana(session: Session) -> Principal:
    return principal(named(session, "ana"), lab="read")


@pytest.fixture
def eva(session: Session) -> Principal:
    return principal(named(session, "eva"))


def test_everybody_finds_a_public_repository_however_its_name_is_written(session: Session) -> None:
    assert find_repo(session, ANONYMOUS, model("ANA/open")).name == "Open"


def test_a_kind_does_not_answer_for_another(session: Session, ana: Principal) -> None:
    with pytest.raises(RepoNotFound):
        find_repo(session, ana, model("Ana/Open", Kind.DATASET))


def test_a_private_repository_looks_just_like_a_missing_one(session: Session, eva: Principal) -> None:
    messages = []
    for name in ("Ana/hidden", "Ana/absent"):
        with pytest.raises(RepoNotFound) as refused:
            find_repo(session, eva, model(name))
        messages.append(refused.value.message.replace(name, "it"))
    assert messages[0] == messages[1]
    with pytest.raises(RepoNotFound):
        find_repo(session, eva, model("Ana/hidden"), scope=Scope.WRITE)


def test_members_find_what_is_private_and_may_write_as_their_role_says(
    session: Session, ana: Principal
) -> None:
    assert find_repo(session, ana, model("Ana/hidden"), scope=Scope.WRITE)
    assert find_repo(session, ana, model("lab/inner"))
    with pytest.raises(Forbidden):
        find_repo(session, ana, model("lab/inner"), scope=Scope.WRITE)


def test_who_may_read_and_not_write_is_told_so(session: Session, eva: Principal) -> None:
    with pytest.raises(Forbidden):
        find_repo(session, eva, model("Ana/Open"), scope=Scope.WRITE)
    with pytest.raises(Unauthorized):
        find_repo(session, ANONYMOUS, model("Ana/Open"), scope=Scope.WRITE)


def test_an_old_name_leads_to_the_repository_and_a_private_one_stays_absent(
    session: Session, ana: Principal, eva: Principal
) -> None:
    for old, new in (("ana/before", "ana/open"), ("ana/secret", "ana/hidden")):
        moved = session.scalars(select(Repo).where(Repo.key == new)).one()
        session.add(Redirect(kind="model", key=old, repo_id=moved.id))
    session.flush()
    assert find_repo(session, eva, model("Ana/Before")).name == "Open"
    assert find_repo(session, ana, model("Ana/secret")).name == "hidden"
    with pytest.raises(RepoNotFound):
        find_repo(session, eva, model("Ana/secret"))


def test_gated_files_are_for_members_and_for_those_who_were_let_in(
    session: Session, ana: Principal, eva: Principal
) -> None:
    gated = find_repo(session, eva, model("Ana/gated"))
    check_content(session, ana, gated)
    for caller in (eva, ANONYMOUS):
        with pytest.raises(Gated, match=r"/Ana/gated/ask-access"):
            check_content(session, caller, gated)
    request = AccessRequest(repo_id=gated.id, account_id=eva.account_id, status="pending", created_at=FIRST)
    session.add(request)
    session.flush()
    with pytest.raises(Gated):
        check_content(session, eva, gated)
    request.status = "accepted"
    session.flush()
    check_content(session, eva, gated)


def test_a_fine_grained_token_is_let_in_only_where_it_may_read(session: Session, eva: Principal) -> None:
    gated = find_repo(session, eva, model("Ana/gated"))
    session.add(
        AccessRequest(repo_id=gated.id, account_id=eva.account_id, status="accepted", created_at=FIRST)
    )
    session.flush()
    account = named(session, "eva")
    check_content(session, fine_grained(account, "ana/gated", Scope.READ), gated)
    for narrow in (fine_grained(account, "eva", Scope.READ), fine_grained(account, "ana/gated", Scope.CALL)):
        with pytest.raises(Gated):
            check_content(session, narrow, gated)


def test_the_condition_for_queries_says_the_same_as_the_rule(
    session: Session, ana: Principal, eva: Principal
) -> None:
    mine = named(session, "ana")
    callers = [
        ANONYMOUS,
        ana,
        eva,
        principal(mine, role=Role.READ),
        principal(mine, role=Role.ADMIN),
        principal(mine, role=Role.ADMIN, admin=True),
        fine_grained(mine, "Ana", Scope.READ),
        fine_grained(mine, "Ana/Hidden", Scope.READ),
        fine_grained(mine, "Ana/hidden", Scope.WRITE),
        fine_grained(mine, "lab/inner", Scope.READ, lab="read"),
        fine_grained(mine, "lab/inner", Scope.READ),
    ]
    everything = list(session.scalars(select(Repo)))
    for caller in callers:
        found = set(session.scalars(select(Repo.key).where(visible(caller))))
        assert found == {it.key for it in everything if may_see(caller, it)}, caller
