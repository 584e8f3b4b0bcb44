"""Cards are written by people, and by people who wish us ill: what can be read is read, nothing is raised."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest
from lanza.hub.cards import languages, read_card, text_of, texts_of
from lanza.hub.documents import json_object, parse_json, parse_yaml, plain


def test_the_metadata_and_the_text_below_them() -> None:
    card = read_card(b"---\nlicense: mit\ntags: [becas, 2026]\n---\n# Becas\n---\nmore")
    assert card.data == {"license": "mit", "tags": ["becas", 2026]}
    assert card.text == "# Becas\n---\nmore"
    assert card.problem is None


@pytest.mark.parametrize(
    "text", ["", "# Becas", "--- no", "---\nnever: closed\n", "a\n---\nlicense: mit\n---\n", "\ufeff# Becas"]
)
def test_a_readme_without_metadata_is_all_text(text: str) -> None:
    card = read_card(text)
    assert (dict(card.data), card.text, card.problem) == ({}, text, None)


@pytest.mark.parametrize("text", ["\ufeff---\na: 1\n---\n", "\n\n---\r\na: 1\r\n---\r\n", "--- \na: 1\n---"])
def test_marks_blank_lines_and_line_ends_of_other_systems_do_no_harm(text: str) -> None:
    assert read_card(text).data == {"a": 1}


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("a: b: c", "line 2"),
        ("a: [1", "not valid YAML"),
        ("- a\n- b", "`key: value`"),
        ("a: &x [1]\nb: *x", "line 3"),
        ("x: " + "[" * 100 + "]" * 100, "nested deeper"),
        ("x: " + "[" * 100_000, "nest"),
        ("a: 2024-13-45", "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]", "constructor"),
        ("? [a]\n: b", "unhashable"),
        ("a: '" + "x" * 2**20 + "'", "characters"),
    ],
)
def test_metadata_that_cannot_be_read_are_a_problem_and_no_error(yaml: str, problem: str) -> None:
    card = read_card(f"---\n{yaml}\n---\ntext")
    assert problem in (card.problem or "")
    assert (dict(card.data), card.text) == ({}, "text")


def test_a_value_is_taken_where_a_list_should_be_and_the_other_way_round() -> None:
    data = {"one": "mit", "many": ["a", 2, None, True, {"b": 1}, " c ", "", "x\ny", "l" * 300]}
    assert texts_of(data, "one") == ["mit"]
    assert texts_of(data, "many") == ["a", "2", "c"]
    assert (text_of(data, "many"), text_of(data, "none")) == ("a", None)


def test_norwegian_is_a_language() -> None:
    assert languages(read_card("---\nlanguage: [no, es]\n---\n").data) == ["no", "es"]
    assert languages({"language": "es"}) == ["es"]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
))  # fmt: skip
def test_whatever_was_read_can_be_stored_as_json(value: object) -> None:
    stored = json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
    assert "\0" not in stored
    assert "\\u0000" not in json.dumps(plain(value))
    assert plain(json.loads(stored)) == plain(value)
    stored.encode()


@given(st.text())
def test_no_text_breaks_a_card(text: str) -> None:
    read_card(text)
    read_card(f"---\n{text}\n---\n")


@given(st.binary())
def test_no_bytes_break_a_card_or_a_document(content: bytes) -> None:
    read_card(b"---\n" + content + b"\n---\n")
    json_object(content)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff", b"9" * 5000, b'{"a": ' * 5000])
def test_json_that_cannot_be_read_is_refused_or_empty(content: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_json(content)
    assert json_object(content) == {}


def test_numbers_that_json_does_not_have_are_told_as_text() -> None:
    assert parse_json(b'{"a": NaN, "b": [-Infinity], "c": 1e400}') == {"a": "nan", "b": ["-inf"], "c": "inf"}
    assert parse_yaml("a: .inf") == {"a": "inf"}
