"""Zero-shot classification: an entailment model judges each label as a hypothesis about the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lanza.errors import BadRequest, ModelError
from lanza.tasks.base import Body, Task, TextModel, TextParameters
from lanza.tasks.text import Output, require_text, softmax
from lanza.tasks.text_classification import Label
from lanza.tasks.work import Work, check_count, one_or_list


class ZeroShotParameters(TextParameters, frozen=True, kw_only=True):
    """With `multi_label` each label is judged on its own, otherwise their scores add up to 1."""

    candidate_labels: list[str] | str
    hypothesis_template: str | None = None
    multi_label: bool | None = None


class ZeroShotBody(Body, frozen=True, kw_only=True):
    inputs: str | list[str]
    parameters: ZeroShotParameters


def _find(labels: Sequence[str], start: str) -> int | None:
    return next((i for i, label in enumerate(labels) if label.lower().startswith(start)), None)


def check(model: TextModel) -> None:
    if _find(model.labels, "entail") is None:
        raise ModelError(
            "zero-shot needs a model with a label called entailment, and this one has "
            f"{', '.join(model.labels[:8]) or 'no labels'}: serve it as --task text-classification."
        )


def prepare(model: TextModel, body: ZeroShotBody) -> Work:
    labels = _labels(body.parameters.candidate_labels)
    template = body.parameters.hypothesis_template or "This example is {}."
    if "{}" not in template:
        raise BadRequest("`parameters.hypothesis_template` has no {}: put it where the label goes.")
    texts = len(body.inputs) if isinstance(body.inputs, list) else 1
    check_count(len(labels) * texts, what="`inputs` × `parameters.candidate_labels`")
    return one_or_list(body.inputs, lambda text: _one(model, text, labels, template, body.parameters))


def _labels(given: list[str] | str) -> list[str]:
    labels = [label.strip() for label in given.split(",")] if isinstance(given, str) else given
    if not labels or not all(label.strip() for label in labels):
        raise BadRequest("`parameters.candidate_labels` is empty or has an empty label: name each one.")
    check_count(len(labels), what="`parameters.candidate_labels`")
    return labels


def _one(
    model: TextModel, text: str, labels: Sequence[str], template: str, parameters: ZeroShotParameters
) -> Work:
    encoder = model.encoder
    premise = encoder.ids(require_text(text))
    sequences = []
    for label in labels:
        hypothesis = encoder.ids(template.replace("{}", label))
        fitted = encoder.fit(premise, encoder.pair.size + len(hypothesis), truncate=parameters.cut)
        sequences.append(encoder.pair.compose(fitted, hypothesis))

    def keep(index: int, output: Output) -> Any:
        return output["logits"].copy()

    def finish(kept: Sequence[Any]) -> list[Label]:
        logits = np.stack(kept)
        values = _judge(logits, model.labels, alone=bool(parameters.multi_label) or len(labels) == 1)
        return [Label(label=labels[i], score=float(values[i])) for i in np.argsort(-values, kind="stable")]

    return Work(pieces=sequences, lengths=[len(s) for s in sequences], keep=keep, finish=finish)


def _judge(logits: Any, names: Sequence[str], *, alone: bool) -> Any:
    """Scores [labels] from logits [labels, classes of the entailment model]."""
    entailment = _find(names, "entail") or 0
    if not alone:
        return softmax(logits[:, entailment])
    contradiction = _find(names, "contra")
    other = contradiction if contradiction is not None else (-1 if entailment == 0 else 0)
    return softmax(logits[:, [other, entailment]])[:, 1]


TASK = Task(
    name="zero-shot-classification",
    body=ZeroShotBody,
    answer=list[Label],
    example={
        "inputs": "El plazo termina el viernes.",
        "parameters": {
            "candidate_labels": ["fechas", "dinero", "documentos"],
            "hypothesis_template": "Esto trata de {}.",
        },
    },
    prepare=prepare,
    check=check,
)
