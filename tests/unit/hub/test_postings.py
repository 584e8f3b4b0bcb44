"""The sets that lists are found by: they say what the records say, after every change and after a rebuild."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub_parts import CARD, CONFIG, hub, person, push, record, safetensors
from hub_records import account, database, model, repo
from lanza.auth.principal import Principal
from lanza.hub import repos
from lanza.hub.downloads import Downloads
from lanza.hub.hub import Hub
from lanza.hub.names import Kind
from lanza.hub.postings import (
    BLOCK,
    DATES,
    find,
    first_stretch,
    least_of,
    note,
    owner_term,
    rebuild,
    size_terms,
    stretch_of,
    stretch_term,
    tag_term,
    terms_of,
    word_terms,
)
from lanza.hub.records import Posting, Repo, RepoTag

MODEL = Kind.MODEL


@pytest.fixture
def empty(tmp_path: Path) -> Hub:
    return hub(tmp_path)


@pytest.fixture
def ana(empty: Hub) -> Principal:
    return person(empty, "Ana")


@pytest.fixture
def made(empty: Hub, ana: Principal) -> Hub:
    repos.create(empty, ana, model("Ana/becas-qa"))
    return empty


def written(session: Session) -> dict[tuple[str, str, int], bytes]:
    return {(it.kind, it.term, it.block): it.bits for it in session.scalars(select(Posting))}


def consistent(hub: Hub) -> None:
    """What is written is what would be written anew."""
    with hub.database.writing() as session:
        before = written(session)
        session.expire_all()
        rebuild(session)
        session.expire_all()
        assert written(session) == before


def numbers(hub: Hub, *wanted: list[str]) -> list[int]:
    with hub.database.reading() as session:
        return find(session, MODEL, wanted).numbers()


def test_every_change_of_a_repository_is_noted(made: Hub, ana: Principal) -> None:
    repo_id = record(made, "Ana/becas-qa").id
    consistent(made)
    push(made, repo_id, {"README.md": CARD, "config.json": CONFIG, "model.safetensors": safetensors(a=(7,))})
    consistent(made)
    assert numbers(made, [tag_term("license:mit")], size_terms(7, 7)) == [repo_id]
    with made.database.writing() as session:
        repos.change(session, ana, model("Ana/becas-qa"), repos.Changes(visibility="private", gated="auto"))
    consistent(made)
    assert numbers(made, ["public"]) == []
    counts = Downloads(made.database)
    for client in range(5):
        counts.count(repo_id, str(client))
    counts.write()
    with made.database.writing() as session:
        repos.like(session, ana, model("Ana/becas-qa"), likes=True)
    consistent(made)
    assert numbers(made, [stretch_term("downloads", 7)], [stretch_term("likes", 1)]) == [repo_id]
    with made.database.writing() as session:
        repos.like(session, ana, model("Ana/becas-qa"), likes=False)
    consistent(made)
    repos.move(made, ana, model("Ana/becas-qa"), model("Ana/otra"))
    consistent(made)
    assert numbers(made, word_terms("becas")[:1]) == []
    repos.duplicate(made, ana, model("Ana/otra"), model("Ana/copia"))
    consistent(made)
    assert len(numbers(made, [owner_term("ANA")])) == 2
    repos.remove(made, ana, model("Ana/otra"))
    consistent(made)
    repos.remove(made, ana, model("Ana/copia"))
    with made.database.reading() as session:
        assert written(session) == {}


def test_a_change_that_is_taken_back_leaves_no_trace(made: Hub, ana: Principal) -> None:
    with made.database.reading() as session:
        before = written(session)
    with suppress(ZeroDivisionError), made.database.writing() as session:
        repos.change(session, ana, model("Ana/becas-qa"), repos.Changes(visibility="private"))
        raise ZeroDivisionError
    with made.database.reading() as session:
        assert written(session) == before


def test_sets_reach_over_blocks(tmp_path: Path) -> None:
    """Full ones and sparse ones, with gaps between their blocks."""
    here = [1, BLOCK - 1, BLOCK, 3 * BLOCK, *range(3 * BLOCK + 5, 4 * BLOCK, 2)]
    with database(tmp_path).writing() as session:
        account(session, "ana")
        made = repo(session, "ana/x", "es", "en", id=here[0])
        for number in here[1:]:
            tags = ("es", "en") if number % 3 else ("es",)
            session.add_all(RepoTag(repo_id=number, tag=tag) for tag in tags)
            session.add(
                Repo(
                    id=number,
                    kind="model",
                    key=f"ana/{number}",
                    namespace="ana",
                    name=str(number),
                    owner_id=made.owner_id,
                    visibility="public",
                    created_at=made.created_at,
                    updated_at=made.updated_at,
                )
            )
        session.flush()
        rebuild(session)
        assert find(session, MODEL, [["tag=es"]]).numbers() == here
        both = find(session, MODEL, [["tag=es"], ["tag=en"]])
        assert both.numbers() == [number for number in here if number % 3 or number == here[0]]
        assert len(both) == len(both.numbers())
        assert (both & [BLOCK, 5 * BLOCK]).numbers() == [BLOCK]
        assert find(session, MODEL, [["tag=es"], ["tag=none", "tag=fr"]]).numbers() == []
        assert find(session, Kind.DATASET, [["tag=es"]]).numbers() == []


def test_noting_nothing_writes_nothing(tmp_path: Path) -> None:
    with database(tmp_path).writing() as session:
        account(session, "ana")
        made = repo(session, "ana/x", "es")
        before = written(session)
        note(session, made, terms_of(made, ["es"]), terms_of(made, ["es"]))
        assert written(session) == before


@pytest.mark.parametrize("word", ["a", "na", "Ana", "becas-qa", "S-Q", "/", "a/b"])
def test_an_id_has_all_terms_of_its_parts(made: Hub, word: str) -> None:
    with made.database.reading() as session:
        found = session.scalars(select(Repo)).one()
        assert set(word_terms(word)) <= terms_of(found)
    assert word_terms("") == []


def test_a_number_of_parameters_has_a_term_of_every_range_that_it_is_in() -> None:
    sizes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 1000, 7 * 10**9, 2**40, 2**62, 2**63 - 1]
    for least in sizes:
        for most in sizes[sizes.index(least) :]:
            for size in sizes:
                if least <= size <= most:
                    assert set(size_terms(size, size)) <= set(size_terms(least, most))
    assert set(size_terms(7, 7)) <= set(size_terms(None, 7))
    assert size_terms(100, 1) == []


def test_a_push_in_another_month_is_noted(made: Hub) -> None:
    """The record was made long ago: its date, and so its place in the order of change, is another now."""
    repo_id = record(made, "Ana/becas-qa").id
    then = datetime(2020, 5, 31, 23, 59, tzinfo=UTC)
    with made.database.writing() as session:
        session.get_one(Repo, repo_id).updated_at = then
        session.flush()
        rebuild(session)
    assert numbers(made, [stretch_term("updated_at", then)]) == [repo_id]
    push(made, repo_id, {"README.md": CARD})
    consistent(made)
    assert numbers(made, [stretch_term("updated_at", then)]) == []


@pytest.mark.parametrize("value", [0, 1, 2, 3, 4, 1023, 1024, 2**62, 2**63 - 1])
def test_stretches_of_counts_meet(value: int) -> None:
    stretch = stretch_of(value)
    assert least_of(stretch, "likes") <= value < least_of(stretch + 1, "likes")  # type: ignore[operator]


@pytest.mark.parametrize(
    "day", ["2026-01-01T00:00Z", "2025-12-31T23:59:59.999999Z", "2026-02-01T00:30+01:00"]
)
@pytest.mark.parametrize("column", DATES)
def test_stretches_of_dates_meet(column: str, day: str) -> None:
    value = datetime.fromisoformat(day).astimezone(UTC)
    stretch = stretch_of(value)
    assert least_of(stretch, column) <= value < least_of(stretch + 1, column)  # type: ignore[operator]


def test_the_first_stretch_is_the_first_that_has_any(tmp_path: Path) -> None:
    with database(tmp_path).writing() as session:
        account(session, "ana")
        for likes in (0, 1, 100, 900):
            repo(session, f"ana/m{likes}", *(["es"] if likes < 900 else []), likes=likes)
        spanish = find(session, MODEL, [["tag=es"]])
        stretches = range(11)
        assert first_stretch(session, MODEL, "likes", stretches, spanish) == 0
        assert first_stretch(session, MODEL, "likes", stretches[::-1], spanish) == stretch_of(100)
        assert first_stretch(session, MODEL, "likes", stretches[8:], spanish) is None
        assert first_stretch(session, MODEL, "likes", (), spanish) is None
