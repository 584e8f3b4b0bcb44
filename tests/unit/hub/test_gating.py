"""Gated repositories: who asks is let in as the gate says, and the owner has the last word."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub_records import FIRST, account, database, model, principal, repo
from lanza.auth.principal import ANONYMOUS, Principal
from lanza.auth.records import Account
from lanza.errors import BadRequest, Forbidden, Gated, NotFound, RepoNotFound, Unauthorized
from lanza.hub.access import check_content, find_repo
from lanza.hub.gating import ask, decide, grant, requests
from lanza.hub.records import AccessRequest

MANUAL, AUTO, OPEN = model("ana/manual"), model("ana/auto"), model("ana/open")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with database(tmp_path).writing() as opened:
        for name in ("ana", "eva"):
            account(opened, name)
        repo(opened, "ana/manual", gated="manual")
        repo(opened, "ana/auto", gated="auto")
        repo(opened, "ana/open")
        repo(opened, "ana/secret", gated="auto", visibility="private")
        yield opened


def who(session: Session, name: str) -> Account:
    return session.scalars(select(Account).where(Account.key == name)).one()


@pytest.fixture
def ana(session: Session) -> Principal:
    return principal(who(session, "ana"))


@pytest.fixture
def eva(session: Session) -> Principal:
    return principal(who(session, "eva"))


def reads(session: Session, caller: Principal, name: str) -> bool:
    try:
        check_content(session, caller, find_repo(session, caller, model(name)))
    except Gated:
        return False
    return True


def test_asking_is_enough_at_an_automatic_gate(session: Session, eva: Principal) -> None:
    assert not reads(session, eva, "ana/auto")
    assert ask(session, eva, AUTO, {"why": "becas"}) == "accepted"
    session.flush()
    assert reads(session, eva, "ana/auto")


def test_at_a_manual_gate_the_owner_decides(session: Session, ana: Principal, eva: Principal) -> None:
    assert ask(session, eva, MANUAL, {}) == "pending"
    session.flush()
    assert not reads(session, eva, "ana/manual")
    decide(session, ana, MANUAL, who(session, "eva"), "accepted", None)
    assert reads(session, eva, "ana/manual")
    assert ask(session, eva, MANUAL, {}) == "accepted"
    decide(session, ana, MANUAL, who(session, "eva"), "pending", None)
    assert not reads(session, eva, "ana/manual")


def test_who_was_rejected_cannot_ask_again(session: Session, ana: Principal, eva: Principal) -> None:
    ask(session, eva, MANUAL, {})
    session.flush()
    decide(session, ana, MANUAL, who(session, "eva"), "rejected", "not a student")
    with pytest.raises(Forbidden, match="not a student"):
        ask(session, eva, MANUAL, {})


def test_members_need_not_ask_and_strangers_cannot(session: Session, ana: Principal, eva: Principal) -> None:
    assert ask(session, ana, MANUAL, {}) == "accepted"
    assert session.scalars(select(AccessRequest)).all() == []
    with pytest.raises(Unauthorized):
        ask(session, ANONYMOUS, MANUAL, {})
    with pytest.raises(RepoNotFound):
        ask(session, eva, model("ana/secret"), {})
    with pytest.raises(BadRequest, match="not gated"):
        ask(session, eva, OPEN, {})


def test_only_the_owner_decides_and_looks(session: Session, ana: Principal, eva: Principal) -> None:
    user = who(session, "eva")
    for act in (
        lambda: decide(session, eva, MANUAL, user, "accepted", None),
        lambda: grant(session, eva, MANUAL, user),
        lambda: requests(session, eva, MANUAL, "pending", limit=9),
    ):
        with pytest.raises(Forbidden):
            act()


def test_somebody_may_be_let_in_unasked_and_only_once(
    session: Session, ana: Principal, eva: Principal
) -> None:
    grant(session, ana, MANUAL, who(session, "eva"))
    session.flush()
    assert reads(session, eva, "ana/manual")
    with pytest.raises(BadRequest, match="already"):
        grant(session, ana, MANUAL, who(session, "eva"))


def test_decisions_that_cannot_be_are_refused(session: Session, ana: Principal, eva: Principal) -> None:
    user = who(session, "eva")
    with pytest.raises(NotFound, match="has not asked"):
        decide(session, ana, MANUAL, user, "accepted", None)
    ask(session, eva, MANUAL, {})
    session.flush()
    with pytest.raises(NotFound, match="pending already"):
        decide(session, ana, MANUAL, user, "pending", None)
    for status, reason in (("maybe", None), ("accepted", "because"), ("rejected", "x" * 201)):
        with pytest.raises(BadRequest):
            decide(session, ana, MANUAL, user, status, reason)
    with pytest.raises(BadRequest, match="fields"):
        ask(session, principal(account(session, "leo")), MANUAL, dict.fromkeys(map(str, range(60)), "x"))


def test_requests_come_in_order_page_by_page(session: Session, ana: Principal) -> None:
    gated = find_repo(session, ana, MANUAL)
    for number in range(5):
        asker = account(session, f"u{number}")
        since = FIRST + timedelta(hours=number // 2)  # two at a time
        session.add(AccessRequest(repo_id=gated.id, account_id=asker.id, status="pending", created_at=since))
    session.flush()
    found: list[str] = []
    after = None
    while page := requests(session, ana, MANUAL, "pending", limit=2, after=after):
        found += [account.name for _, account in page]
        after = (page[-1][0].created_at, page[-1][0].account_id)
    assert found == [f"u{number}" for number in range(5)]
    assert requests(session, ana, MANUAL, "accepted", limit=2) == []
    with pytest.raises(NotFound):
        requests(session, ana, MANUAL, "others", limit=2)
