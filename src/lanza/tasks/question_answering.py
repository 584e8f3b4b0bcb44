"""Extractive question answering: the span of a context that answers a question.

A context that fits is read in one window, as long as the model allows (`max_seq_len` makes it shorter);
a longer one is read in windows that overlap by `doc_stride` tokens. Start and end probabilities are
normalised over *all* windows together, so a window without the answer cannot look sure of itself. Offsets
are characters of the context as it was sent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from lanza.errors import BadRequest, InputTooLong
from lanza.tasks.base import Body, Parameters, Task, TextModel
from lanza.tasks.text import UNBOUNDED, Output, Tokens, TokenSequence, require_text
from lanza.tasks.work import Work, check_count, one_or_list


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    question: str
    context: str


class QuestionAnsweringParameters(Parameters, frozen=True, kw_only=True):
    """Lengths are in tokens. With `handle_impossible_answer` an empty answer is one of the candidates.

    `align_to_words` (true unless set) widens a span to whole words. `top_k` above 1 gives a list.
    """

    align_to_words: bool | None = None
    doc_stride: int | None = None
    handle_impossible_answer: bool | None = None
    max_answer_len: int | None = None
    max_question_len: int | None = None
    max_seq_len: int | None = None
    top_k: int | None = None


class QuestionAnsweringBody(Body, frozen=True, kw_only=True):
    inputs: Question | list[Question]
    parameters: QuestionAnsweringParameters | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` is `context[start:end]`; an impossible answer is the empty string at 0..0."""

    answer: str
    score: float
    start: int
    end: int


BOUNDS: Final = {
    "doc_stride": (0, UNBOUNDED),
    "max_answer_len": (1, 512),
    "max_question_len": (1, UNBOUNDED),
    "max_seq_len": (1, UNBOUNDED),
    "top_k": (1, 100),
}
"""Least and most of each number among the parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Logits:
    """One window's logits: of its context tokens as starts and ends, and of "no answer" as both."""

    start: Any
    end: Any
    null: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Window:
    """`count` tokens of the context from its token `first`, at `offset` in the sequence."""

    sequence: TokenSequence
    first: int
    count: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    align: bool
    impossible: bool
    answer_length: int
    top_k: int

    @classmethod
    def of(cls, parameters: QuestionAnsweringParameters) -> _Settings:
        return cls(
            align=parameters.align_to_words is not False,
            impossible=bool(parameters.handle_impossible_answer),
            answer_length=parameters.max_answer_len or 15,
            top_k=parameters.top_k or 1,
        )


def prepare(model: TextModel, body: QuestionAnsweringBody) -> Work:
    parameters = body.parameters or QuestionAnsweringParameters()
    for name, (least, most) in BOUNDS.items():
        value = getattr(parameters, name)
        if value is not None and not least <= value <= most:
            raise BadRequest(f"`parameters.{name}` is {value}: it must be from {least} to {most}.")
    return one_or_list(
        body.inputs, lambda item: _one(model, item, parameters), of="one question with its context"
    )


def _one(model: TextModel, item: Question, parameters: QuestionAnsweringParameters) -> Work:
    question = _tokens(model, item.question, "inputs.question").ids
    context = _tokens(model, item.context, "inputs.context")
    windows = _windows(model, question, context, parameters)
    settings = _Settings.of(parameters)

    def keep(index: int, output: Output) -> _Logits:
        window = windows[index]
        inside = slice(window.offset, window.offset + window.count)
        start, end = output["start_logits"], output["end_logits"]
        return _Logits(
            start=start[inside].astype(np.float64),
            end=end[inside].astype(np.float64),
            null=(float(start[0]), float(end[0])),
        )

    def finish(kept: Sequence[_Logits]) -> Answer | list[Answer]:
        answers = _answers(item.context, context, windows, kept, settings)
        return answers[0] if settings.top_k == 1 else answers

    sequences = [window.sequence for window in windows]
    return Work(pieces=sequences, lengths=[len(s) for s in sequences], keep=keep, finish=finish)


def _tokens(model: TextModel, text: str, what: str) -> Tokens:
    return model.encoder.tokens(require_text(text, what=what), what=what)


def _windows(
    model: TextModel, question: list[int], context: Tokens, parameters: QuestionAnsweringParameters
) -> list[_Window]:
    frame, limit = model.encoder.pair, model.encoder.limit
    length = min(parameters.max_seq_len or limit, limit)
    if parameters.max_question_len is not None:
        question = question[: parameters.max_question_len]
    room = length - frame.size - len(question)
    if room < 1:
        raise InputTooLong(
            tokens=len(question) + frame.size + 1,
            limit=length,
            what="inputs.question",
            instead="send max_question_len",
        )
    if not len(context):
        raise BadRequest("`inputs.context` has nothing that the tokenizer can read: send some text.")
    stride = min(128, room // 2) if parameters.doc_stride is None else parameters.doc_stride
    if len(context) > room and stride >= room:
        raise BadRequest(
            f"`parameters.doc_stride` is {stride}, and beside this question a window has {room} tokens of "
            "context: make the stride smaller or max_seq_len larger."
        )
    step = room - stride
    count = 1 + max(0, -(-(len(context) - room) // step))
    check_count(count, what="`inputs.context`")
    offset = frame.start(1, before=len(question))
    spans = [(i * step, context.ids[i * step : i * step + room]) for i in range(count)]
    return [
        _Window(sequence=frame.compose(question, ids), first=first, count=len(ids), offset=offset)
        for first, ids in spans
    ]


def _answers(
    text: str, context: Tokens, windows: Sequence[_Window], kept: Sequence[_Logits], settings: _Settings
) -> list[Answer]:
    starts = _log_probabilities([w.start for w in kept], [w.null[0] for w in kept], settings.impossible)
    ends = _log_probabilities([w.end for w in kept], [w.null[1] for w in kept], settings.impossible)
    found: dict[tuple[int, int], float] = {}
    for window, start, end in zip(windows, starts, ends, strict=True):
        for first, last, score in _spans(start, end, settings.answer_length, settings.top_k):
            # Windows overlap: a span keeps the better of the scores that it got.
            key = (window.first + first, window.first + last)
            found[key] = max(found.get(key, 0.0), score)
    answers: dict[tuple[int, int], Answer] = {}
    if settings.impossible:
        # The window that is least sure of having no answer speaks for the whole context.
        score = min(map(_null_score, kept))
        answers[0, 0] = Answer(answer="", score=score, start=0, end=0)
    for (first, last), score in sorted(found.items(), key=lambda entry: -entry[1]):
        start_char, end_char = _characters(text, context, first, last, settings)
        if start_char < end_char and (start_char, end_char) not in answers:
            answers[start_char, end_char] = Answer(
                answer=text[start_char:end_char], score=score, start=start_char, end=end_char
            )
    best = sorted(answers.values(), key=lambda answer: -answer.score)[: settings.top_k]
    return best or [Answer(answer="", score=0.0, start=0, end=0)]


def _log_probabilities(rows: Sequence[Any], nulls: Sequence[float], impossible: bool) -> list[Any]:
    """Log-probabilities of each context token, per window, normalised over all windows together."""
    everything = np.concatenate([*rows, nulls] if impossible else rows)
    top = everything.max()
    total = top + np.log(np.exp(everything - top).sum())
    return [row - total for row in rows]


def _null_score(window: _Logits) -> float:
    """How sure one window is that it has no answer, from 0 to 1."""
    score = 1.0
    for null, row in zip(window.null, (window.start, window.end), strict=True):
        top = max(null, float(row.max()))
        score *= float(np.exp(null - top) / (np.exp(null - top) + np.exp(row - top).sum()))
    return score


def _spans(start: Any, end: Any, longest: int, top_k: int) -> list[tuple[int, int, float]]:
    """The best `top_k` spans (first, last, score) of one window, at most `longest` tokens long."""
    count = len(start)
    width = min(longest, count)
    padded = np.concatenate([end, np.full(width - 1, -np.inf)])
    # Row i holds the ends i, i+1, ... i+width-1: a band instead of the whole square of starts and ends.
    band = start[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    # Widening to words may merge neighbours, so a few more than asked for are kept.
    keep = min(top_k * 4 if top_k > 1 else 1, band.size)
    flat = band.ravel()
    part = np.argpartition(-flat, keep - 1)[:keep]
    order = part[np.argsort(-flat[part], kind="stable")]
    return [
        (int(i // width), int(i // width + i % width), float(np.exp(flat[i])))
        for i in order
        if np.isfinite(flat[i])
    ]


def _characters(text: str, context: Tokens, first: int, last: int, settings: _Settings) -> tuple[int, int]:
    """Characters of tokens `first..last`, widened to whole words, blanks at the ends left out."""
    if settings.align:
        wide_first, wide_last = _whole_words(context.words, first, last)
        # Where a script has no blanks a "word" can be the whole context: such words are not widened to.
        if wide_last - wide_first - (last - first) <= settings.answer_length:
            first, last = wide_first, wide_last
    start, end = context.offsets[first][0], context.offsets[last][1]
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _whole_words(words: Sequence[int | None], first: int, last: int) -> tuple[int, int]:
    while first > 0 and words[first] is not None and words[first - 1] == words[first]:
        first -= 1
    while last + 1 < len(words) and words[last] is not None and words[last + 1] == words[last]:
        last += 1
    return first, last


TASK = Task(
    name="question-answering",
    body=QuestionAnsweringBody,
    answer=Answer | list[Answer],
    example={
        "inputs": {
            "question": "¿Cuándo cierra la convocatoria?",
            "context": "La convocatoria abre el 3 de marzo y cierra el 28 de abril.",
        }
    },
    outputs=("start_logits", "end_logits"),
    prepare=prepare,
)
