"""Document question answering: the words of a scanned page that answer a question.

Models of two kinds. Those that point at words (LayoutLM) need the page's words with their places, which the
caller sends (`word_boxes`) or an OCR program reads; those that write (Donut) need only the image.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Parameters, Task
from lanza.tasks.upload import Upload

MAX_WORDS = 50_000
MAX_QUESTION = 10_000
"""Characters."""
PAGE = 1000
"""Boxes are in thousandths of the page's width and height."""

WordBox = tuple[str, tuple[int, int, int, int]]


class DocumentQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`image` may be left out when `word_boxes` says all that the model reads."""

    question: str
    image: Upload = None
    word_boxes: list[Any] | None = None


class DocumentQuestionAnsweringParameters(Parameters, frozen=True, kw_only=True):
    """Lengths are in tokens; `max_answer_len` is 15 unless set.

    `word_boxes` is a list of [word, [x0, y0, x1, y1]] in thousandths of the page; `lang` is the OCR's.
    """

    doc_stride: int | None = None
    handle_impossible_answer: bool | None = None
    lang: str | None = None
    max_answer_len: int | None = None
    max_question_len: int | None = None
    max_seq_len: int | None = None
    top_k: int | None = None
    word_boxes: list[Any] | None = None


class DocumentQuestionAnsweringBody(Body, frozen=True, kw_only=True):
    inputs: DocumentQuestion
    parameters: DocumentQuestionAnsweringParameters | None = None


class DocumentAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`start` and `end` are the first and last word, from 0. A model that writes gives only the answer."""

    answer: str
    score: float | None = None
    start: int | None = None
    end: int | None = None


def check_lengths(parameters: DocumentQuestionAnsweringParameters) -> None:
    for name in ("doc_stride", "max_answer_len", "max_question_len", "max_seq_len", "top_k"):
        value = getattr(parameters, name)
        if value is not None and value < (0 if name == "doc_stride" else 1):
            raise BadRequest(f"`parameters.{name}` is {value}: it must be a positive number.")


def read_word_boxes(given: list[Any]) -> list[WordBox]:
    """The words and their boxes: pairs, or a flat list of a word and its box in turn, as clients type it."""
    flat = bool(given) and isinstance(given[0], str)
    if flat and len(given) % 2:
        raise BadRequest(
            "`word_boxes` ends with a word that has no box: send [word, [x0, y0, x1, y1]] pairs."
        )
    pairs = list(zip(given[::2], given[1::2], strict=True)) if flat else given
    if not 1 <= len(pairs) <= MAX_WORDS:
        raise BadRequest(f"`word_boxes` has {len(pairs)} words: send from 1 to {MAX_WORDS}.")
    return [_word_box(pair, index) for index, pair in enumerate(pairs)]


def _word_box(pair: Any, index: int) -> WordBox:
    match pair:
        case (str() as word, [_, _, _, _] as box) if all(_is_number(value) for value in box):
            x0, y0, x1, y1 = (round(value) for value in box)
            if 0 <= x0 <= x1 <= PAGE and 0 <= y0 <= y1 <= PAGE:
                return word, (x0, y0, x1, y1)
            raise BadRequest(
                f"the box of word {index} of `word_boxes` is {box}: it must be [x0, y0, x1, y1] from 0 to "
                f"{PAGE}, left before right and top before bottom."
            )
    raise BadRequest(f"item {index} of `word_boxes` is not a [word, [x0, y0, x1, y1]] pair.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 10 * PAGE


TASK = Task(
    name="document-question-answering",
    body=DocumentQuestionAnsweringBody,
    answer=list[DocumentAnswer],
    example={
        "inputs": {"question": "¿Cuál es el total?", "image": "<base64 of a JPEG or PNG>"},
        "parameters": {"word_boxes": [["Total:", [62, 510, 130, 530]], ["42,50", [140, 510, 190, 530]]]},
    },
)
