"""Which outputs of an ONNX graph a task reads: by name and rank, and none by mistake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lanza.engines.graph import choose_outputs, count_classes, has_tokens, read_inputs
from lanza.errors import ModelError
from lanza.tasks import find_task


@dataclass
class Entry:
    name: str
    shape: list[int | str | None]
    type: str = "tensor(float)"


HIDDEN = Entry("last_hidden_state", ["batch", "tokens", 384])
POOLER = Entry("pooler_output", ["batch", 384])
SENTENCE = Entry("sentence_embedding", ["batch", 384])
TOKENS = Entry("token_embeddings", ["batch", "tokens", 384])
CLASSES = Entry("logits", ["batch", 3])
TOKEN_CLASSES = Entry("logits", ["batch", "tokens", 9])


@pytest.mark.parametrize(
    ("entries", "task", "chosen"),
    [
        ([HIDDEN, POOLER], "feature-extraction", {"last_hidden_state": "last_hidden_state"}),
        ([SENTENCE, TOKENS], "feature-extraction", {"token_embeddings": "last_hidden_state"}),
        ([SENTENCE], "sentence-similarity", {"sentence_embedding": "last_hidden_state"}),
        (
            [Entry("output_1", ["n", 384]), Entry("output_0", ["n", "t", 384])],
            "feature-extraction",
            {"output_0": "last_hidden_state"},
        ),
        ([Entry("last_hidden_state", [])], "feature-extraction", {"last_hidden_state": "last_hidden_state"}),
        ([CLASSES], "text-classification", {"logits": "logits"}),
        ([Entry("output", ["n", 3])], "zero-shot-classification", {"output": "logits"}),
        ([TOKEN_CLASSES], "token-classification", {"logits": "logits"}),
        (
            [Entry("end_logits", ["n", "t"]), Entry("start_logits", ["n", "t"])],
            "question-answering",
            {"start_logits": "start_logits", "end_logits": "end_logits"},
        ),
        (
            [Entry("a", ["n", "t"]), Entry("b", ["n", "t"])],
            "question-answering",
            {"a": "start_logits", "b": "end_logits"},
        ),
    ],
)
def test_a_task_reads_what_is_its_own(entries: list[Entry], task: str, chosen: dict[str, str]) -> None:
    assert choose_outputs(entries, find_task(task)) == chosen
    assert list(choose_outputs(entries, find_task(task)).values()) == list(find_task(task).outputs)


@pytest.mark.parametrize(
    ("entries", "task"),
    [
        ([TOKEN_CLASSES], "text-classification"),
        ([CLASSES], "token-classification"),
        ([CLASSES], "feature-extraction"),
        ([TOKEN_CLASSES], "feature-extraction"),
        ([POOLER], "feature-extraction"),
        ([HIDDEN], "fill-mask"),
        ([Entry("a", ["n", "t", 8]), Entry("b", ["n", "t", 8])], "feature-extraction"),
        ([Entry("start_logits", ["n", "t"])], "question-answering"),
        ([], "text-classification"),
    ],
)
def test_what_is_for_another_task_is_refused(entries: list[Entry], task: str) -> None:
    with pytest.raises(ModelError, match="choose another --task"):
        choose_outputs(entries, find_task(task))


def test_only_outputs_of_tokens_are_cut_to_a_texts_tokens() -> None:
    assert has_tokens(find_task("feature-extraction"), 3)
    assert not has_tokens(find_task("feature-extraction"), 2)
    assert not has_tokens(find_task("text-classification"), 2)
    assert has_tokens(find_task("question-answering"), 2)


def test_classes_are_counted_where_the_graph_states_them() -> None:
    assert count_classes([CLASSES], {"logits": "logits"}) == 3
    assert count_classes([Entry("output", ["n", 5])], {"output": "logits"}) == 5
    assert count_classes([Entry("logits", ["n", "classes"])], {"logits": "logits"}) is None
    assert count_classes([HIDDEN], {"last_hidden_state": "last_hidden_state"}) is None


def test_inputs_that_no_text_has_are_refused() -> None:
    ids = Entry("input_ids", ["n", "t"], "tensor(int32)")
    assert read_inputs([ids]) == {"input_ids": np.dtype("int32")}
    with pytest.raises(ModelError, match="pixel_values"):
        read_inputs([ids, Entry("pixel_values", ["n", 3, 224, 224])])
