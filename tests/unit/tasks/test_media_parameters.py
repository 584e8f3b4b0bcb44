"""Uploads, generation parameters, word boxes and thresholds: what is taken, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest

from lanza.errors import BadRequest
from lanza.tasks.document_question_answering import read_word_boxes
from lanza.tasks.sampling import GenerationParameters, generation_arguments
from lanza.tasks.table_question_answering import TableQuestion, columns, queries
from lanza.tasks.upload import read_upload


@pytest.mark.parametrize(
    "value",
    [b"hola", "aG9sYQ==", " aG9s\r\nYQ==\n", "data:image/png;base64,aG9sYQ==", "DATA:;base64,aG9sYQ=="],
)
def test_an_upload_is_bytes_base64_or_a_data_url(value: Any) -> None:
    assert read_upload(value, kind="an image") == b"hola"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("HTTPS://example.org/a.png", "fetches nothing"),
        ("http://[::1]/", "fetches nothing"),
        ("aG9sYQ", "not base64"),
        ("ñandú", "not base64"),
        ("\ud800", "not base64"),
        ("data:image/png;base64", "without base64"),
        ("data:,hola", "without base64"),
        ("data:;base64,", "empty"),
        (b"", "empty"),
        ("   ", "empty"),
        (3.5, "must be a string"),
        ({"image": "x"}, "must be a string"),
    ],
)
def test_an_upload_that_is_none(value: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        read_upload(value, kind="an image")


def arguments(**given: Any) -> dict[str, Any]:
    return generation_arguments(GenerationParameters(**given))


def test_nothing_is_asked_for_by_nothing() -> None:
    assert generation_arguments(None) == {}
    assert arguments() == {}


def test_a_sampling_parameter_that_is_sent_is_meant() -> None:
    assert arguments(temperature=0.7) == {"temperature": 0.7, "do_sample": True}
    assert arguments(temperature=0.0, top_p=0.5) == {"do_sample": False}
    assert arguments(do_sample=False, top_k=5, num_beams=3) == {"do_sample": False, "num_beams": 3}
    assert arguments(do_sample=True) == {"do_sample": True}


def test_what_the_library_dropped_may_be_sent_at_its_neutral_value_only() -> None:
    assert arguments(num_beam_groups=1, penalty_alpha=0.0) == {}
    with pytest.raises(BadRequest, match="num_beam_groups"):
        arguments(num_beam_groups=2)


@pytest.mark.parametrize(
    "given",
    [
        {"max_new_tokens": 0},
        {"max_new_tokens": 10**9},
        {"num_beams": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 1.1},
        {"typical_p": 0.0},
        {"repetition_penalty": 0.0},
        {"min_length": -1},
        {"max_new_tokens": 3, "min_new_tokens": 4},
    ],
)
def test_a_generation_parameter_out_of_bounds(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=next(iter(given))):
        arguments(**given)


def test_the_new_length_takes_precedence() -> None:
    assert arguments(max_length=50, max_new_tokens=20) == {"max_new_tokens": 20}


def test_word_boxes_are_pairs_or_a_flat_list() -> None:
    pairs = [["Total:", [1, 2.4, 3, 4]], ["42", [5, 6, 7, 1000]]]
    expected = [("Total:", (1, 2, 3, 4)), ("42", (5, 6, 7, 1000))]
    assert read_word_boxes(pairs) == expected
    assert read_word_boxes([part for pair in pairs for part in pair]) == expected


@pytest.mark.parametrize(
    "given",
    [
        [["a", [0, 0, True, 1]]],
        [["a", [0, 0, float("nan"), 1]]],
        [["a", [0, 0, 10**400, 1]]],
        [["a", [-1, 0, 1, 1]]],
        [["a", "b"]],
        [None],
        ["a", "b"],
        [{}],
    ],
)
def test_word_boxes_that_are_none(given: list[Any]) -> None:
    with pytest.raises(BadRequest, match="word_boxes"):
        read_word_boxes(given)


def test_cells_become_text() -> None:
    table = TableQuestion(table={"a": [1, 2.5, None, True, "x"]}, query="¿?")
    assert columns(table) == {"a": ["1", "2.5", "", "True", "x"]}
    assert queries(table) == ("¿?",)


def test_a_table_is_bounded() -> None:
    with pytest.raises(BadRequest, match="more than 4000 cells"):
        columns(TableQuestion(table={str(i): ["x"] * 300 for i in range(100)}, query="¿?"))
    with pytest.raises(BadRequest, match="from 1 to 16"):
        queries(TableQuestion(table={"a": ["1"]}, query=["¿?"] * 17))


@pytest.mark.parametrize("table", [{"a": ["x" * 1001]}, {"a" * 1001: ["1"]}])
def test_a_cell_is_bounded(table: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="1001 characters"):
        columns(TableQuestion(table=table, query="¿?"))


def test_a_question_about_a_table_is_bounded() -> None:
    with pytest.raises(BadRequest, match="1001 characters"):
        queries(TableQuestion(table={"a": ["1"]}, query="x" * 1001))
