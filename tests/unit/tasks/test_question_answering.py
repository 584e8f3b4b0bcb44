"""Windows, spans and offsets, with logits made up here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest, InputTooLong
from lanza.tasks.base import TextModel
from lanza.tasks.question_answering import (
    Question,
    QuestionAnsweringBody,
    QuestionAnsweringParameters,
    _spans,
    _whole_words,
    prepare,
)
from lanza.tasks.work import Work

MakeModel = Callable[..., TextModel]
CONTEXT = "la beca abre en marzo y cierra en abril"


def ask(model: TextModel, context: str = CONTEXT, **parameters: Any) -> Work:
    body = QuestionAnsweringBody(
        inputs=Question(question="la beca cierra", context=context),
        parameters=QuestionAnsweringParameters(**parameters),
    )
    return prepare(model, body)


def logits(work: Work, start_token: int, end_token: int, strength: float = 9.0) -> list[dict[str, Any]]:
    """Outputs in which one token id is the best start and another the best end, wherever they stand."""
    outputs = []
    for piece in work.pieces:
        ids = np.array(piece.ids)
        outputs.append(
            {
                "start_logits": np.where(ids == start_token, strength, 0.0).astype(np.float32),
                "end_logits": np.where(ids == end_token, strength, 0.0).astype(np.float32),
            }
        )
    return outputs


def finish(work: Work, outputs: list[dict[str, Any]]) -> Any:
    """The answer, made as the replica makes it: what is kept of each output first."""
    return work.finish([work.keep(i, output) for i, output in enumerate(outputs)])


def token(model: TextModel, word: str) -> int:
    found = model.encoder.tokenizer.token_to_id(word)
    assert found is not None
    return found


def test_a_context_that_fits_is_one_window(make_model: MakeModel) -> None:
    assert len(ask(make_model()).pieces) == 1


def test_windows_cover_a_long_context_and_overlap(make_model: MakeModel) -> None:
    model = make_model(limit=12)
    work = ask(model, " ".join(["mil"] * 30 + ["euros"]), doc_stride=2)
    assert len(work.pieces) > 1
    assert all(len(piece) <= 12 for piece in work.pieces)
    assert list(work.lengths) == [len(piece) for piece in work.pieces]
    assert sum(token(model, "euros") in piece.ids for piece in work.pieces) == 1


@pytest.mark.parametrize("limit", [10, 12, 20, 64])
def test_the_answer_is_found_in_whichever_window_it_stands(make_model: MakeModel, limit: int) -> None:
    model = make_model(limit=limit)
    context = " ".join(["mil"] * 25) + " clara estudia " + " ".join(["y"] * 25)
    work = ask(model, context, doc_stride=2)
    answer = finish(work, logits(work, token(model, "clara"), token(model, "estudia")))
    assert answer.answer == "clara estudia"
    assert context[answer.start : answer.end] == answer.answer


def test_the_question_is_never_an_answer(make_model: MakeModel) -> None:
    model = make_model()
    work = ask(model, "abre en marzo")
    answer = finish(work, logits(work, token(model, "beca"), token(model, "cierra")))
    assert answer.answer in "abre en marzo"
    assert answer.score < 0.5


def test_a_window_without_the_answer_is_not_sure_of_itself(make_model: MakeModel) -> None:
    """All windows share the probabilities: a middling best here loses to a strong one elsewhere."""
    model = make_model(limit=12)
    work = ask(model, " ".join(["mil"] * 20) + " euros", doc_stride=0)
    outputs = logits(work, token(model, "euros"), token(model, "euros"))
    outputs[0]["start_logits"][6] = 3.0
    outputs[0]["end_logits"][6] = 3.0
    answers = finish(ask(model, " ".join(["mil"] * 20) + " euros", doc_stride=0, top_k=3), outputs)
    assert answers[0].answer == "euros"
    assert answers[0].score > 0.9
    assert sum(answer.score for answer in answers) <= 1 + 1e-9


def test_max_answer_len_bounds_the_tokens(make_model: MakeModel) -> None:
    model = make_model()
    longest = ask(model, max_answer_len=3)
    answer = finish(longest, logits(longest, token(model, "abre"), token(model, "abril")))
    assert len(answer.answer.split()) <= 3


def test_no_answer_is_an_answer_when_asked_for(make_model: MakeModel) -> None:
    model = make_model()
    work = ask(model, handle_impossible_answer=True)
    nothing = finish(work, logits(work, token(model, "[CLS]"), token(model, "[CLS]")))
    assert (nothing.answer, nothing.start, nothing.end) == ("", 0, 0)
    assert nothing.score > 0.9
    something = finish(work, logits(work, token(model, "abril"), token(model, "abril")))
    assert something.answer == "abril"


def test_a_question_that_fills_the_window_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(InputTooLong, match=r"inputs\.question"):
        ask(make_model(limit=6))
    assert ask(make_model(limit=6), max_question_len=1, doc_stride=0).pieces


def test_an_answer_in_a_script_without_blanks_is_not_widened_to_the_whole(make_model: MakeModel) -> None:
    """Where the tokenizer sees one word in all of the context, whole words say nothing."""
    model = make_model()
    work = ask(model, CONTEXT, max_answer_len=1)
    context = model.encoder.tokens(CONTEXT)
    assert _whole_words([0] * len(context), 3, 3) == (0, len(context) - 1)
    answer = finish(work, logits(work, token(model, "marzo"), token(model, "marzo")))
    assert answer.answer == "marzo"


def test_a_combining_accent_stays_with_its_letter(make_model: MakeModel) -> None:
    model = make_model()
    context = "la beca cierra en cafe\u0301 de abril"
    work = ask(model, context)
    start = context.index("cafe")
    outputs = logits(work, -1, -1)
    ids = work.pieces[0].ids
    unknown = ids.index(token(model, "[UNK]"))
    outputs[0]["start_logits"][unknown] = outputs[0]["end_logits"][unknown] = 9
    answer = finish(work, outputs)
    assert (answer.start, answer.answer) == (start, "cafe\u0301")


@pytest.mark.parametrize(
    "parameters",
    [
        {"top_k": 0},
        {"top_k": 101},
        {"max_answer_len": 10**9},
        {"max_answer_len": 0},
        {"doc_stride": -1},
        {"max_seq_len": 10, "doc_stride": 9},
    ],
)
def test_parameters_out_of_range(make_model: MakeModel, parameters: dict[str, int]) -> None:
    with pytest.raises(BadRequest, match=next(reversed(parameters))):
        ask(make_model(), **parameters)


floats = st.floats(-20, 20, width=32)


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=30), st.integers(1, 20), st.integers(1, 5))
def test_spans_are_the_best_of_all(pairs: list[tuple[float, float]], longest: int, top_k: int) -> None:
    """The band gives what trying every pair of start and end gives."""
    start = np.array([pair[0] for pair in pairs])
    end = np.array([pair[1] for pair in pairs])
    every = sorted(
        (start[i] + end[j] for i in range(len(pairs)) for j in range(i, min(len(pairs), i + longest))),
        reverse=True,
    )
    found = _spans(start, end, longest, top_k)
    assert all(0 <= last - first < longest and last < len(pairs) for first, last, _ in found)
    scores = [score for _, _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert np.allclose(np.log(scores[:1]), every[:1])
    assert np.allclose(np.log(scores), every[: len(scores)])
