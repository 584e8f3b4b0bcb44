"""Token classification: a label for each token, or for each group of neighbouring tokens that form an entity.

A text longer than the model's positions is read in windows when `stride` (their overlap, in tokens) is
given; each token then takes its scores from the window in which it stands farthest from an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Task, TextModel, TextParameters
from lanza.tasks.text import Output, Tokens, require_text, softmax
from lanza.tasks.work import Work, check_count, one_or_list

Strategy = Literal["none", "simple", "first", "average", "max"]


class TokenClassificationParameters(TextParameters, frozen=True, kw_only=True):
    aggregation_strategy: Strategy | None = None
    ignore_labels: list[str] | None = None
    stride: int | None = None


class TokenClassificationBody(Body, frozen=True, kw_only=True):
    inputs: str | list[str]
    parameters: TokenClassificationParameters | None = None


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`start` and `end` are characters of the text; `entity` without aggregation, else `entity_group`."""

    score: float
    word: str
    start: int
    end: int
    entity: str | None = None
    entity_group: str | None = None
    index: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """A run of tokens `first..last` (inclusive) and the scores of the classes for it."""

    first: int
    last: int
    scores: Any


def prepare(model: TextModel, body: TokenClassificationBody) -> Work:
    parameters = body.parameters or TokenClassificationParameters()
    if parameters.stride is not None and parameters.stride < 0:
        raise BadRequest(f"`parameters.stride` is {parameters.stride}: it must be 0 or more.")
    return one_or_list(body.inputs, lambda text: _one(model, text, parameters))


def _one(model: TextModel, text: str, parameters: TokenClassificationParameters) -> Work:
    encoder = model.encoder
    tokens = encoder.tokens(require_text(text))
    room = encoder.limit - encoder.single.size
    if len(tokens) > room and parameters.stride is not None:
        if parameters.stride >= room:
            raise BadRequest(f"`parameters.stride` is {parameters.stride} and windows have {room} tokens.")
        step = room - parameters.stride
        check_count(2 + (len(tokens) - room) // step, what="`inputs`")
        starts = [*range(0, len(tokens) - room, step), len(tokens) - room]
        windows = [(start, tokens.ids[start : start + room]) for start in starts]
    else:
        windows = [(0, encoder.fit(tokens.ids, encoder.single.size, truncate=parameters.cut))]
    sequences = [encoder.single.compose(ids) for _, ids in windows]
    skip = encoder.single.start(0)

    def keep(index: int, output: Output) -> tuple[int, Any]:
        start, ids = windows[index]
        return start, output["logits"][skip : skip + len(ids)].copy()

    def finish(parts: Sequence[tuple[int, Any]]) -> list[Entity]:
        return _entities(model, text, tokens, softmax(_merge(parts)), parameters)

    return Work(pieces=sequences, lengths=[len(s) for s in sequences], keep=keep, finish=finish)


def _merge(parts: Sequence[tuple[int, Any]]) -> Any:
    """Logits of overlapping windows as one array [tokens, classes], each token from its best window."""
    if len(parts) == 1:
        return parts[0][1]
    total = max(start + len(logits) for start, logits in parts)
    merged = np.zeros((total, parts[0][1].shape[1]), dtype=np.float32)
    margin = np.full(total, -1)
    for start, logits in parts:
        count = len(logits)
        inside = np.minimum(np.arange(count), np.arange(count)[::-1])
        rows = np.arange(start, start + count)
        better = inside > margin[rows]
        merged[rows[better]] = logits[better]
        margin[rows[better]] = inside[better]
    return merged


def _entities(
    model: TextModel, text: str, tokens: Tokens, scores: Any, parameters: TokenClassificationParameters
) -> list[Entity]:
    strategy = parameters.aggregation_strategy or "none"
    ignored = {"O"} if parameters.ignore_labels is None else set(parameters.ignore_labels)
    spans = [_Span(first=i, last=i, scores=row) for i, row in enumerate(scores)]
    if strategy in ("first", "average", "max"):
        spans = _words(tokens, spans, strategy)
    if strategy == "none":
        return [
            _entity(model, text, tokens, span, index=span.first + 1)
            for span in spans
            if model.labels[int(span.scores.argmax())] not in ignored
        ]
    return [e for e in _groups(model, text, tokens, spans) if e.entity_group not in ignored]


def _entity(model: TextModel, text: str, tokens: Tokens, span: _Span, *, index: int) -> Entity:
    best = int(span.scores.argmax())
    start, end = tokens.offsets[span.first]
    return Entity(
        entity=model.labels[best],
        score=float(span.scores[best]),
        word=tokens.texts[span.first],
        start=start,
        end=end,
        index=index,
    )


def _words(tokens: Tokens, spans: Sequence[_Span], strategy: Strategy) -> list[_Span]:
    """The tokens of one word as one span, its scores by the strategy."""
    groups: list[list[_Span]] = []
    for span in spans:
        word = tokens.words[span.first]
        if groups and word is not None and word == tokens.words[groups[-1][0].first]:
            groups[-1].append(span)
        else:
            groups.append([span])
    return [_Span(first=g[0].first, last=g[-1].last, scores=_reduce(g, strategy)) for g in groups]


def _reduce(group: Sequence[_Span], strategy: Strategy) -> Any:
    if strategy == "first":
        return group[0].scores
    rows = np.stack([span.scores for span in group])
    if strategy == "average":
        return rows.mean(axis=0)
    return rows[rows.max(axis=1).argmax()]


def _tag(label: str) -> tuple[str, str]:
    """("B" or "I", kind) of a label such as B-PER; a label without a prefix continues its own kind."""
    if label[:2] in ("B-", "I-"):
        return label[0], label[2:]
    return "I", label


def _groups(model: TextModel, text: str, tokens: Tokens, spans: Sequence[_Span]) -> list[Entity]:
    """Neighbours of one kind as one entity; a B- tag begins a new one."""
    runs: list[tuple[str, list[_Span]]] = []
    for span in spans:
        mark, kind = _tag(model.labels[int(span.scores.argmax())])
        if runs and mark != "B" and runs[-1][0] == kind:
            runs[-1][1].append(span)
        else:
            runs.append((kind, [span]))
    return [_group(model, tokens, kind, run) for kind, run in runs]


def _group(model: TextModel, tokens: Tokens, kind: str, run: Sequence[_Span]) -> Entity:
    first, last = run[0].first, run[-1].last
    return Entity(
        entity_group=kind,
        score=float(np.mean([span.scores.max() for span in run])),
        word=model.encoder.tokenizer.decode(tokens.ids[first : last + 1], skip_special_tokens=False).strip(),
        start=tokens.offsets[first][0],
        end=tokens.offsets[last][1],
    )


TASK = Task(
    name="token-classification",
    body=TokenClassificationBody,
    answer=list[Entity],
    example={
        "inputs": "Clara estudia en Sevilla.",
        "parameters": {"aggregation_strategy": "simple"},
    },
    prepare=prepare,
)
