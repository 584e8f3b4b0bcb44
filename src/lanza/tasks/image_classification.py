"""Image classification: which of the model's labels an image belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.text_classification import Label, Transform, default_transform, ranked, scores
from lanza.tasks.upload import Upload

TOP_K = 5
"""How many labels come back unless asked otherwise: these models often have a thousand."""


class ImageClassificationParameters(Parameters, frozen=True, kw_only=True):
    """The `top_k` best labels come back. `function_to_apply`: null is what the model was trained for."""

    function_to_apply: Transform | None = None
    top_k: int | None = None


class ImageClassificationBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: ImageClassificationParameters | None = None


def answer(
    logits: Any,
    labels: Sequence[str],
    config: Mapping[str, Any],
    *,
    function_to_apply: Transform | None,
    top_k: int | None,
) -> list[Label]:
    """The best labels of one row of logits; also what audio classification answers."""
    transform = function_to_apply or default_transform(config, len(logits))
    return ranked(scores(logits, transform), labels, top_k or TOP_K)


TASK = Task(
    name="image-classification",
    body=ImageClassificationBody,
    answer=list[Label],
    example={"inputs": "<base64 of a JPEG or PNG>", "parameters": {"top_k": 3}},
    media=Media.IMAGE,
)
