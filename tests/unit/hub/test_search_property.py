"""A list is what a plain filter over all repositories leaves, whatever is asked, by either way to a page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub_records import account, database, fine_grained, principal, repo
from lanza.auth.principal import ANONYMOUS, Principal, Role, Scope
from lanza.auth.records import Account
from lanza.hub import search
from lanza.hub.access import may_see
from lanza.hub.names import Kind
from lanza.hub.postings import BLOCK
from lanza.hub.records import Repo, RepoTag
from lanza.hub.search import ORDERS, Query, find

OWNERS = ("Ana", "anabel", "uni")
TAGS = ("es", "en", "bert", "license:mit", "rare")
SIZES = (None, 0, 1, 22_000_000, 22_000_001, 7_000_000_000, 2**63 - 1)
AGES = (0, 1, 2, 40, 41, 800)
COUNTS = (0, 0, 0, 1, 2, 3, 300, 310)
KINDS = ("model", "model", "dataset")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Repositories whose numbers reach over several blocks, with equals in every order."""
    chance = random.Random(11)
    with database(tmp_path_factory.mktemp("search")).writing() as opened:
        for owner in OWNERS:
            account(opened, owner)
        for number in range(90):
            name = f"{chance.choice(OWNERS)}/{''.join(chance.choices('abB_-', k=3))}{number}"
            tags = [tag for rank, tag in enumerate(TAGS) if chance.random() < 1 / (rank + 1.2)]
            repo(
                opened,
                name,
                *tags,
                id=1 + number * 211 % (3 * BLOCK),
                kind=chance.choice(KINDS),
                age=chance.choice(AGES),
                visibility=chance.choice(("public", "public", "private")),
                gated=chance.choice(("", "", "auto", "manual")),
                parameters=chance.choice(SIZES),
                downloads=chance.choice(COUNTS),
                likes=chance.choice(COUNTS),
            )
        opened.flush()
        yield opened


def callers(session: Session) -> list[Principal]:
    ana, anabel, _ = session.scalars(select(Account).order_by(Account.id))
    one = session.scalars(select(Repo).where(Repo.owner_id == ana.id, Repo.visibility == "private")).first()
    assert one is not None
    return [
        ANONYMOUS,
        principal(ana),
        principal(anabel, uni="read"),
        principal(ana, role=Role.ADMIN, admin=True),
        fine_grained(ana, f"{one.namespace}/{one.name}", Scope.READ),
        fine_grained(ana, "Ana", Scope.CALL),
    ]


QUERIES = st.builds(
    Query,
    kind=st.sampled_from([Kind.MODEL, Kind.DATASET, Kind.SPACE]),
    words=st.lists(st.text("abB_-/1%ñ", min_size=1, max_size=5) | st.just("ana"), max_size=2),
    author=st.sampled_from([None, None, None, "ANA", "anabel", "nobody"]),
    tags=st.lists(st.sampled_from([*TAGS, "none"]), max_size=3, unique=True),
    gated=st.sampled_from([None, None, True, False]),
    parameters=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES)),
    order=st.sampled_from(list(ORDERS)),
    ascending=st.booleans(),
    limit=st.integers(1, 40),
)


def filtered(session: Session, caller: Principal, query: Query) -> list[Repo]:
    """What `query` means, by the letter."""
    least, most = query.parameters
    tags: dict[int, set[str]] = {}
    for row in session.scalars(select(RepoTag)):
        tags.setdefault(row.repo_id, set()).add(row.tag)
    kept = [
        it
        for it in session.scalars(select(Repo))
        if it.kind == query.kind.value
        and may_see(caller, it)
        and all(word.lower() in it.key for word in query.words)
        and (query.author is None or it.namespace.lower() == query.author.lower())
        and set(query.tags) <= tags.get(it.id, set())
        and (query.gated is None or bool(it.gated) == query.gated)
        and (least is None or (it.parameters is not None and it.parameters >= least))
        and (most is None or (it.parameters is not None and it.parameters <= most))
    ]
    column = ORDERS[query.order].key
    return sorted(kept, key=lambda it: (getattr(it, column), it.id), reverse=not query.ascending)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=QUERIES,
    who=st.integers(0, 5),
    few=st.sampled_from([0, 3, 12, 1000]),
    near=st.sampled_from([0, 3, 1000]),
    wider=st.sampled_from([2, 8]),
)
def test_pages_hold_what_a_plain_filter_leaves(
    session: Session, query: Query, who: int, few: int, near: int, wider: int
) -> None:
    caller = callers(session)[who]
    found: list[int] = []
    # With blocks of one number, what is near the beginning is not everything.
    with mock.patch.multiple(search, FEW=few, NEAR=near, WIDER=wider, BLOCK=1):
        page = find(session, caller, query)
        found += [it.id for it in page.repos]
        while page.next is not None:
            assert len(page.repos) == query.limit
            page = find(session, caller, replace(query, after=page.next))
            found += [it.id for it in page.repos]
    assert found == [it.id for it in filtered(session, caller, query)]
