"""The arithmetic of the other encoder tasks, on logits made up here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lanza.errors import BadRequest, ModelError
from lanza.tasks import find_task
from lanza.tasks.base import TextModel
from lanza.tasks.feature_extraction import pool, unit
from lanza.tasks.fill_mask import FillMaskParameters
from lanza.tasks.text_classification import default_transform
from lanza.tasks.token_classification import TokenClassificationParameters, _merge
from lanza.tasks.work import MAX_PIECES, MAX_TOKENS, Work, check_count, check_size, join, one_or_list

MakeModel = Callable[..., TextModel]


@pytest.mark.parametrize(
    ("config", "count", "expected"),
    [
        ({}, 3, "softmax"),
        ({}, 1, "sigmoid"),
        ({"problem_type": "regression"}, 1, "none"),
        ({"problem_type": "multi_label_classification"}, 3, "sigmoid"),
        ({"problem_type": "single_label_classification"}, 1, "softmax"),
    ],
)
def test_scores_follow_what_the_model_was_trained_for(
    config: dict[str, str], count: int, expected: str
) -> None:
    assert default_transform(config, count) == expected


def test_overlapping_windows_take_each_token_from_its_middle() -> None:
    first = np.zeros((4, 2), dtype=np.float32)
    second = np.ones((4, 2), dtype=np.float32)
    merged = _merge([(0, first), (2, second)])
    assert merged[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_a_list_is_answered_by_a_list() -> None:
    def one(number: int) -> Work:
        return Work(pieces=[number], lengths=[1], finish=lambda outputs: outputs[0] * 10)

    work = join([one(1), one(2), one(3)])
    assert work.finish([work.keep(i, i + 1) for i in range(3)]) == [10, 20, 30]


def test_lists_are_counted_before_anything_is_made_of_them() -> None:
    def never(item: object) -> Work:
        raise AssertionError("made before it was counted")

    with pytest.raises(BadRequest, match="at most"):
        one_or_list(["a"] * (MAX_PIECES + 1), never)
    with pytest.raises(BadRequest, match="empty list"):
        one_or_list([], never)


def test_a_request_is_bounded_in_tokens_too() -> None:
    work = Work(pieces=[0, 1], lengths=[MAX_TOKENS, 1], finish=list)
    with pytest.raises(BadRequest, match=rf"{MAX_TOKENS + 1} tokens.*{MAX_TOKENS}"):
        check_size(work)


def test_windows_of_one_text_are_counted_too(make_model: MakeModel) -> None:
    task = find_task("token-classification")
    assert task.prepare is not None
    body = task.body(  # type: ignore[call-arg]
        inputs="la beca " * 5000, parameters=TokenClassificationParameters(stride=60)
    )
    with pytest.raises(BadRequest, match="at most 1024"):
        task.prepare(make_model(), body)


def test_masks_times_fillings_are_bounded(make_model: MakeModel) -> None:
    task = find_task("fill-mask")
    assert task.prepare is not None
    body = task.body(inputs="[MASK] " * 30, parameters=FillMaskParameters(top_k=50))  # type: ignore[call-arg]
    with pytest.raises(BadRequest, match="top_k"):
        task.prepare(make_model(), body)


def test_what_is_kept_does_not_hold_on_to_the_batch(make_model: MakeModel) -> None:
    """An output is a view into the padded batch: keeping one would keep them all."""
    batch = np.ones((8, 64, 4), dtype=np.float32)
    for name in ("feature-extraction", "token-classification"):
        task = find_task(name)
        assert task.prepare is not None
        work = task.prepare(make_model(labels=("a", "b", "c", "d")), task.body(inputs="la beca"))  # type: ignore[call-arg]
        kept = work.keep(0, {"logits": batch[0], "last_hidden_state": batch[0]})
        array = kept[1] if isinstance(kept, tuple) else kept
        assert not np.shares_memory(array, batch)


def test_too_many_pieces_name_both_figures() -> None:
    check_count(MAX_PIECES, what="`inputs`")
    with pytest.raises(BadRequest, match=rf"{MAX_PIECES + 1}.*{MAX_PIECES}"):
        check_count(MAX_PIECES + 1, what="`inputs`")


@pytest.mark.parametrize(
    ("how", "expected"), [("mean", [2, 3]), ("max", [3, 4]), ("cls", [1, 2]), ("lasttoken", [3, 4])]
)
def test_pooling(how: str, expected: list[float]) -> None:
    vectors = np.array([[1, 2], [3, 4]], dtype=np.float32)
    assert pool(vectors, how).tolist() == expected


def test_the_zero_vector_has_no_direction() -> None:
    assert unit(np.zeros(3)).tolist() == [0, 0, 0]
    assert unit(np.array([3.0, 4.0])).tolist() == pytest.approx([0.6, 0.8])


def test_zero_shot_needs_an_entailment_label(make_model: MakeModel) -> None:
    check = find_task("zero-shot-classification").check
    assert check is not None
    check(make_model(labels=("ENTAILMENT", "neutral")))
    with pytest.raises(ModelError, match="entailment"):
        check(make_model(labels=("malo", "bueno")))


def test_fill_mask_wants_a_mask(make_model: MakeModel) -> None:
    task = find_task("fill-mask")
    assert task.prepare is not None
    with pytest.raises(BadRequest, match=r"\[MASK\]"):
        task.prepare(make_model(), task.body(inputs="la beca"))  # type: ignore[call-arg]


def test_two_masks_give_a_list_for_each(make_model: MakeModel) -> None:
    task = find_task("fill-mask")
    assert task.prepare is not None
    work = task.prepare(make_model(), task.body(inputs="la [MASK] en [MASK]"))  # type: ignore[call-arg]
    logits = np.zeros((len(work.pieces[0]), 30), dtype=np.float32)
    logits[2, 6], logits[4, 9] = 9, 9
    first, second = work.finish([work.keep(0, {"logits": logits})])
    assert (first[0].token, second[0].token) == (6, 9)
    assert len(first) == len(second) == 5
