"""Sentence similarity: the cosine between a sentence and each of others, from -1 to 1.

A plain text or a list of texts is answered with their vectors instead, as feature extraction does: sentence
models are asked both ways at one address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from lanza.errors import BadRequest
from lanza.tasks import feature_extraction
from lanza.tasks.base import Task, TextModel
from lanza.tasks.feature_extraction import FeatureExtractionBody, FeatureExtractionParameters, pool, unit
from lanza.tasks.text import Output, require_text
from lanza.tasks.work import Work, check_count


class Sentences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source_sentence: str
    sentences: list[str]


class SentenceSimilarityBody(FeatureExtractionBody, frozen=True, kw_only=True):
    inputs: Sentences | str | list[str]  # type: ignore[assignment]


def prepare(model: TextModel, body: SentenceSimilarityBody) -> Work:
    if not isinstance(body.inputs, Sentences):
        return feature_extraction.prepare(model, body)
    parameters = body.parameters or FeatureExtractionParameters()
    cut = bool(body.truncate or parameters.truncate or parameters.truncation)
    if not body.inputs.sentences:
        raise BadRequest("`inputs.sentences` is empty: send at least one sentence to compare with.")
    check_count(1 + len(body.inputs.sentences), what="`inputs.sentences`")
    source = require_text(body.inputs.source_sentence, what="inputs.source_sentence")
    sequences = [model.encoder.sequence(source, truncate=cut, what="inputs.source_sentence")]
    for text in body.inputs.sentences:
        require_text(text, what="inputs.sentences")
        sequences.append(model.encoder.sequence(text, truncate=cut, what="inputs.sentences"))

    def keep(index: int, output: Output) -> Any:
        # A model that does not say how to pool is compared by its mean vectors, the usual default.
        return pool(output["last_hidden_state"], model.pooling or "mean")

    def finish(vectors: Sequence[Any]) -> Any:
        units = unit(np.stack(vectors))
        return units[1:] @ units[0]

    return Work(pieces=sequences, lengths=[len(s) for s in sequences], keep=keep, finish=finish)


TASK = Task(
    name="sentence-similarity",
    body=SentenceSimilarityBody,
    answer=list[float | list[float]],
    example={
        "inputs": {
            "source_sentence": "¿Cuándo puedo pedir la beca?",
            "sentences": ["El plazo de solicitud abre en marzo.", "El comedor cierra a las cuatro."],
        }
    },
    outputs=("last_hidden_state",),
    prepare=prepare,
)
