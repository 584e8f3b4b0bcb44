"""Fill-mask: the likeliest tokens in the place of the mask. Two masks or more give one list for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from lanza.errors import BadRequest, ModelError
from lanza.tasks.base import Body, Task, TextModel, TextParameters
from lanza.tasks.text import Output, require_text, softmax
from lanza.tasks.text_classification import check_top_k
from lanza.tasks.work import Work, one_or_list

MOST_FILLINGS: Final = 1000
"""The most fillings that a text may ask for, over all its masks: each is decoded as a whole text."""


class FillMaskParameters(TextParameters, frozen=True, kw_only=True):
    """Only `targets` are scored when given; `top_k` is 5 unless it says otherwise."""

    targets: list[str] | str | None = None
    top_k: int | None = None


class FillMaskBody(Body, frozen=True, kw_only=True):
    inputs: str | list[str]
    parameters: FillMaskParameters | None = None


class Filling(msgspec.Struct, frozen=True, kw_only=True):
    score: float
    token: int
    token_str: str
    sequence: str


def check(model: TextModel) -> None:
    if (
        model.encoder.mask_token is None
        or model.encoder.tokenizer.token_to_id(model.encoder.mask_token) is None
    ):
        raise ModelError("this tokenizer has no mask token: serve the model with another --task.")


def prepare(model: TextModel, body: FillMaskBody) -> Work:
    parameters = body.parameters or FillMaskParameters()
    check_top_k(parameters.top_k)
    targets = _target_ids(model, parameters.targets)
    return one_or_list(body.inputs, lambda text: _one(model, text, parameters, targets))


def _target_ids(model: TextModel, targets: list[str] | str | None) -> list[int] | None:
    if targets is None:
        return None
    ids = []
    for target in [targets] if isinstance(targets, str) else targets:
        found = model.encoder.tokenizer.token_to_id(target)
        # A word that is no token of its own stands for its first piece, as it always did in this task.
        pieces = [found] if found is not None else model.encoder.ids(target)[:1]
        if not pieces:
            raise BadRequest(f"`parameters.targets` has {target!r}, which the tokenizer makes nothing of.")
        ids += pieces
    if not ids:
        raise BadRequest("`parameters.targets` is empty: leave it out, or name at least one word.")
    return list(dict.fromkeys(ids))


def _one(model: TextModel, text: str, parameters: FillMaskParameters, targets: list[int] | None) -> Work:
    encoder = model.encoder
    mask = encoder.mask_token or ""
    mask_id = encoder.tokenizer.token_to_id(mask)
    sequence = encoder.sequence(require_text(text), truncate=parameters.cut)
    places = [i for i, token in enumerate(sequence.ids) if token == mask_id]
    if not places:
        raise BadRequest(f"`inputs` has no mask: put {mask} where a word is to be found.")

    top_k = parameters.top_k or 5
    if len(places) * top_k > MOST_FILLINGS:
        raise BadRequest(
            f"{len(places)} masks with {top_k} fillings each are more than {MOST_FILLINGS}: "
            "lower `parameters.top_k`, or send fewer masks at once."
        )

    def keep(index: int, output: Output) -> list[list[Filling]]:
        rows = output["logits"]
        return [_fill(model, sequence.ids, place, rows[place], top_k, targets) for place in places]

    def finish(kept: Sequence[list[list[Filling]]]) -> list[Any]:
        lists = kept[0]
        return lists[0] if len(lists) == 1 else lists

    return Work(pieces=[sequence], lengths=[len(sequence)], keep=keep, finish=finish)


def _fill(
    model: TextModel, ids: list[int], place: int, logits: Any, top_k: int, targets: list[int] | None
) -> list[Filling]:
    scores = softmax(logits)
    if targets is None:
        part = np.argpartition(-scores, min(top_k, len(scores) - 1))[:top_k]
    else:
        part = np.array(targets)
    best = part[np.argsort(-scores[part], kind="stable")][:top_k]
    decode = model.encoder.tokenizer.decode
    return [
        Filling(
            score=float(scores[token]),
            token=int(token),
            token_str=decode([int(token)], skip_special_tokens=False),
            sequence=decode([*ids[:place], int(token), *ids[place + 1 :]], skip_special_tokens=True),
        )
        for token in best
    ]


TASK = Task(
    name="fill-mask",
    body=FillMaskBody,
    answer=list[Filling],
    example={"inputs": "La beca se solicita en [MASK]."},
    prepare=prepare,
    check=check,
)
