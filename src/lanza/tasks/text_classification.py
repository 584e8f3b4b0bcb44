"""Text classification: which of the model's labels a text, or a pair of texts, belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Task, TextModel, TextParameters
from lanza.tasks.text import Output, require_text, sigmoid, softmax
from lanza.tasks.work import Work, one_or_list

Transform = Literal["sigmoid", "softmax", "none"]


class TextPair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two texts judged together, as entailment or paraphrase models want them."""

    text: str
    text_pair: str


class TextClassificationParameters(TextParameters, frozen=True, kw_only=True):
    """`top_k` labels come back, best first; all of them when it is null."""

    function_to_apply: Transform | None = None
    top_k: int | None = None


class TextClassificationBody(Body, frozen=True, kw_only=True):
    inputs: str | TextPair | list[str | TextPair]
    parameters: TextClassificationParameters | None = None


class Label(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    score: float


def scores(logits: Any, transform: Transform) -> Any:
    """Logits as scores; shape unchanged."""
    if transform == "softmax":
        return softmax(logits)
    return sigmoid(logits) if transform == "sigmoid" else logits


def default_transform(config: Any, count: int) -> Transform:
    """What the model was trained for: `problem_type` when it says, else by the number of its classes."""
    known: dict[str, Transform] = {
        "regression": "none",
        "multi_label_classification": "sigmoid",
        "single_label_classification": "softmax",
    }
    return known.get(config.get("problem_type") or "", "sigmoid" if count == 1 else "softmax")


def check_top_k(top_k: int | None) -> None:
    if top_k is not None and top_k < 1:
        raise BadRequest(f"`parameters.top_k` is {top_k}: ask for at least 1.")


def ranked(values: Any, labels: Sequence[str], top_k: int | None) -> list[Label]:
    """The `top_k` labels (all when None) with their scores, best first."""
    order = np.argsort(-values, kind="stable")[:top_k]
    return [Label(label=labels[i], score=float(values[i])) for i in order]


def prepare(model: TextModel, body: TextClassificationBody) -> Work:
    parameters = body.parameters or TextClassificationParameters()
    check_top_k(parameters.top_k)
    inputs = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    return one_or_list(inputs, lambda item: _one(model, item, parameters))


def _one(model: TextModel, item: str | TextPair, parameters: TextClassificationParameters) -> Work:
    text, pair = (item, None) if isinstance(item, str) else (item.text, item.text_pair)
    sequence = model.encoder.sequence(require_text(text), pair, truncate=parameters.cut)

    def keep(index: int, output: Output) -> Any:
        return output["logits"].copy()

    def finish(kept: Sequence[Any]) -> list[Label]:
        logits = kept[0]
        transform = parameters.function_to_apply or default_transform(model.config, len(logits))
        return ranked(scores(logits, transform), model.labels, parameters.top_k)

    return Work(pieces=[sequence], lengths=[len(sequence)], keep=keep, finish=finish)


TASK = Task(
    name="text-classification",
    body=TextClassificationBody,
    answer=list[list[Label]],
    example={"inputs": "La beca me ha cambiado la vida."},
    prepare=prepare,
)
