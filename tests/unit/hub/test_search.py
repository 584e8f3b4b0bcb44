"""Lists: what is in them, in which order, and that pages lose and repeat nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub_records import account, database, principal, repo
from lanza.auth.principal import ANONYMOUS, Principal
from lanza.auth.records import Account
from lanza.errors import BadRequest
from lanza.hub import search
from lanza.hub.names import Kind
from lanza.hub.search import ORDERS, Cursor, Query, find, parse_parameters, parse_value

BEGIN = "0001-01-01T00:00:00+14:00"
"""A date that no clock in UTC has ever shown."""

BECAS = ("transformers", "question-answering", "es", "license:mit", "dataset:squad_es")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with database(tmp_path).writing() as opened:
        account(opened, "Ana")
        account(opened, "anabel")
        repo(opened, "Ana/becas-qa", *BECAS, age=1, downloads=5, parameters=22_000_000)
        repo(
            opened, "Ana/Becas_llm", "transformers", "es", "text-generation", age=3, parameters=7_000_000_000
        )
        repo(opened, "Ana/secreto", "es", age=9, visibility="private", gated="manual")
        repo(opened, "anabel/vit", "transformers", age=2, likes=3, gated="auto", downloads=9)
        repo(opened, "Ana/becas", "language:es", kind="dataset", age=4)
        yield opened


@pytest.fixture(params=[0, 1000], ids=["walked", "gathered"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to a page, whatever the sizes."""
    monkeypatch.setattr(search, "FEW", request.param)


def ids(session: Session, caller: Principal = ANONYMOUS, **query: Any) -> list[str]:
    page = find(session, caller, Query(kind=query.pop("kind", Kind.MODEL), **query))
    return [f"{it.namespace}/{it.name}" for it in page.repos]


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["Ana/Becas_llm", "anabel/vit", "Ana/becas-qa"]),
        ({"kind": Kind.DATASET}, ["Ana/becas"]),
        ({"kind": Kind.DATASET, "tags": ["language:es"]}, ["Ana/becas"]),
        ({"words": ["BECAS"]}, ["Ana/Becas_llm", "Ana/becas-qa"]),
        ({"words": ["becas", "qa"]}, ["Ana/becas-qa"]),
        ({"words": ["s_l"]}, ["Ana/Becas_llm"]),
        ({"words": ["%"]}, []),
        ({"author": "ANA"}, ["Ana/Becas_llm", "Ana/becas-qa"]),
        ({"author": "an"}, []),
        ({"tags": ["es"]}, ["Ana/Becas_llm", "Ana/becas-qa"]),
        ({"tags": ["es", "license:mit"]}, ["Ana/becas-qa"]),
        ({"tags": ["es", "license:mit", "text-generation"]}, []),
        ({"tags": ["nothing"]}, []),
        ({"author": "ana", "tags": ["transformers"], "words": ["llm"]}, ["Ana/Becas_llm"]),
        ({"gated": True}, ["anabel/vit"]),
        ({"gated": False}, ["Ana/Becas_llm", "Ana/becas-qa"]),
        ({"parameters": (22_000_000, None)}, ["Ana/Becas_llm", "Ana/becas-qa"]),
        ({"parameters": (None, 22_000_000)}, ["Ana/becas-qa"]),
        ({"parameters": (22_000_001, 6_999_999_999)}, []),
        ({"order": "downloads"}, ["anabel/vit", "Ana/becas-qa", "Ana/Becas_llm"]),
        ({"order": "likes", "limit": 1}, ["anabel/vit"]),
        ({"order": "createdAt", "ascending": True}, ["Ana/becas-qa", "anabel/vit", "Ana/Becas_llm"]),
    ],
)
def test_a_query_finds_what_fulfils_all_of_it(
    session: Session, query: dict[str, Any], found: list[str]
) -> None:
    assert ids(session, **query) == found


@pytest.mark.usefixtures("either_way")
def test_private_repositories_are_found_by_members_alone(session: Session) -> None:
    ana, anabel = (principal(it) for it in session.scalars(select(Account).order_by(Account.id)))
    assert ids(session, ana, tags=["es"])[0] == "Ana/secreto"
    assert ids(session, anabel, tags=["es"]) == ids(session, tags=["es"])


def test_a_page_brings_the_tags_of_its_repositories(session: Session) -> None:
    page = find(session, ANONYMOUS, Query(kind=Kind.MODEL, words=["qa"]))
    assert page.tags == {page.repos[0].id: sorted(BECAS)}


def test_heavy_parts_are_loaded_only_when_they_are_wanted(session: Session) -> None:
    session.flush()
    session.expunge_all()
    (light,) = find(session, ANONYMOUS, Query(kind=Kind.MODEL, words=["qa"])).repos
    assert "card" not in light.__dict__
    session.expunge_all()
    (heavy,) = find(session, ANONYMOUS, Query(kind=Kind.MODEL, words=["qa"], heavy=True)).repos
    assert {"card", "facts", "findings"} <= heavy.__dict__.keys()


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ascending", [True, False])
def test_pages_lose_and_repeat_nothing_even_among_equals(tmp_path: Path, order: str, ascending: bool) -> None:
    chance = random.Random(7)
    with database(tmp_path).writing() as session:
        account(session, "ana")
        for number in range(50):
            days, count = chance.randrange(5), chance.randrange(4)
            repo(session, f"ana/m{number}", "es", age=days, downloads=count, likes=count)
        pages, after = [], None
        while True:
            query = Query(
                kind=Kind.MODEL, tags=["es"], order=order, ascending=ascending, limit=7, after=after
            )
            page = find(session, ANONYMOUS, query)
            pages.append(page.repos)
            if page.next is None:
                break
            after = page.next
        found = [it for page in pages for it in page]
    assert [len(page) for page in pages] == [7] * 7 + [1]
    assert len({it.id for it in found}) == 50
    keys = [(getattr(it, ORDERS[order].key), it.id) for it in found]
    assert all((one < two) == ascending for one, two in pairwise(keys))


@pytest.mark.parametrize(
    "after",
    [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)],
)
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("ascending", [True, False])
def test_a_page_may_begin_anywhere(session: Session, after: datetime, ascending: bool) -> None:
    """Cursors come from clients: some are of no repository, or far beyond all."""
    cursor = Cursor(value=after, id=0)
    every = {it.id: it.updated_at for it in find(session, ANONYMOUS, Query(kind=Kind.MODEL)).repos}
    page = find(session, ANONYMOUS, Query(kind=Kind.MODEL, after=cursor, ascending=ascending))
    beyond = {number for number, at in every.items() if ((at, number) > (after, 0)) == ascending}
    assert {it.id for it in page.repos} == beyond


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        ("min:6B,max:128B", (6_000_000_000, 128_000_000_000)),
        ("max:1K", (None, 1000)),
        ("min:0.5b", (500_000_000, None)),
        ("7M", (7_000_000, 7_000_000)),
        ("min:12", (12, None)),
        ("max:999999999999999T", (None, 2**63 - 1)),
    ],
)
def test_ranges_of_parameters(text: str, range_: tuple[int | None, int | None]) -> None:
    assert parse_parameters(text) == range_


@pytest.mark.parametrize(
    "text", ["", "min:", "many", "min:6B,min:7B", "about:6B", "min:-1", "6B,", "1e9", "9" * 400]
)
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="num_parameters"):
        parse_parameters(text)


def test_an_unknown_order_is_refused_with_those_that_there_are(session: Session) -> None:
    with pytest.raises(BadRequest, match="lastModified, createdAt"):
        ids(session, order="size")


def test_a_query_of_many_conditions_is_refused(session: Session) -> None:
    with pytest.raises(BadRequest, match="at most 32"):
        ids(session, tags=[f"t{number}" for number in range(40)])


def test_a_cursor_of_another_order_is_refused() -> None:
    assert parse_value("likes", 3) == 3
    assert Cursor(value=parse_value("createdAt", "2026-01-01T00:00:00+00:00"), id=1)
    for order, value in (
        ("likes", "2026-01-01"),
        ("createdAt", 3),
        ("createdAt", "soon"),
        ("createdAt", BEGIN),
        ("size", 1),
    ):
        with pytest.raises(BadRequest):
            parse_value(order, value)
