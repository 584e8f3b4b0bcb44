"""Table question answering: the cells of a table that answer a question."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Parameters, Task
from lanza.tasks.text import require_text

MAX_QUERIES = 16
MAX_CELLS = 4_000
MAX_CHARACTERS = 1_000
"""In a question and in a cell. Models of tables read some 500 tokens in all, and their tokenizers are Python
whose time grows faster than the text."""

Cell = str | int | float | bool | None


class TableQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question or a list of them (`query` and `question` are the same) about columns of equal length."""

    table: dict[str, list[Cell]]
    query: str | list[str] | None = None
    question: str | list[str] | None = None


class TableQuestionAnsweringParameters(Parameters, frozen=True, kw_only=True):
    """`truncation` (true unless set) drops the last rows of a table that is too long.

    `sequential` reads each of several questions in the light of the answer before it. `padding` and `model`
    are accepted, for clients send them, and change nothing.
    """

    model: str | None = None
    padding: Literal["do_not_pad", "longest", "max_length"] | bool | None = None
    sequential: bool | None = None
    truncation: bool | Literal["drop_rows_to_fit", "do_not_truncate"] | None = None

    @property
    def cut(self) -> bool:
        return self.truncation not in (False, "do_not_truncate")


class TableQuestionAnsweringBody(Body, frozen=True, kw_only=True):
    inputs: TableQuestion
    parameters: TableQuestionAnsweringParameters | None = None


class TableAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`coordinates` are (row, column) from 0; `aggregator` says what to do with the cells."""

    answer: str
    coordinates: list[tuple[int, int]]
    cells: list[str]
    aggregator: str | None = None


def queries(inputs: TableQuestion) -> tuple[str, ...]:
    """The questions, in order. BadRequest when there is none, or too many."""
    if inputs.query is not None and inputs.question is not None:
        raise BadRequest("`inputs.query` and `inputs.question` are the same: send one of them.")
    asked: Any = inputs.query if inputs.query is not None else inputs.question
    if asked is None:
        raise BadRequest("`inputs.query` is missing: send a question about the table.")
    several = [asked] if isinstance(asked, str) else asked
    if not 1 <= len(several) <= MAX_QUERIES:
        raise BadRequest(f"`inputs.query` has {len(several)} questions: send from 1 to {MAX_QUERIES}.")
    return tuple(_short(require_text(query, what="inputs.query"), what="inputs.query") for query in several)


def columns(inputs: TableQuestion) -> dict[str, list[str]]:
    """The table as text, a column per name. BadRequest when it is empty, ragged or huge."""
    lengths = {len(cells) for cells in inputs.table.values()}
    if not lengths or lengths == {0}:
        raise BadRequest("`inputs.table` is empty: send at least one column with one cell.")
    if len(lengths) > 1:
        named = ", ".join(f"{name!r} has {len(cells)}" for name, cells in list(inputs.table.items())[:4])
        raise BadRequest(f"the columns of `inputs.table` must have the same number of cells: {named}.")
    if len(inputs.table) * next(iter(lengths)) > MAX_CELLS:
        raise BadRequest(f"`inputs.table` has more than {MAX_CELLS} cells: send a part of it.")
    return {
        _short(name, what="a column's name in inputs.table"): [_text(cell) for cell in cells]
        for name, cells in inputs.table.items()
    }


def _text(cell: Cell) -> str:
    return "" if cell is None else _short(str(cell), what="a cell of inputs.table")


def _short(text: str, *, what: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise BadRequest(f"`{what}` has {len(text)} characters: send at most {MAX_CHARACTERS}.")
    return text


TASK = Task(
    name="table-question-answering",
    body=TableQuestionAnsweringBody,
    answer=TableAnswer | list[TableAnswer],
    example={
        "inputs": {
            "query": "¿Cuánto paga la beca de máster?",
            "table": {"Beca": ["grado", "máster"], "Euros": ["1200", "2400"]},
        }
    },
)
