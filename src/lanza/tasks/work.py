"""What a task asks of an engine: pieces that may share a batch with others', and what is made of them.

A request becomes one `Work`. Its `pieces` (token sequences, images, clips) are queued one by one, so that a
long request and a short one mix well; when the last piece has come back, `finish` makes the answer. Nothing
here waits, queues or runs a model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from lanza.errors import BadRequest

MAX_PIECES = 1024
"""The most pieces that one request may bring: beyond it, one caller would hold the queue for seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One request's share of the engine.

    `lengths` has the cost of each piece in tokens (or what is nearest to a token for the modality).
    Only pieces of one `group` share a batch. `finish` gets one engine output per piece, in order.
    """

    pieces: Sequence[Any]
    lengths: Sequence[int]
    finish: Callable[[Sequence[Any]], Any]
    group: Hashable = None


def check_count(count: int, *, what: str) -> None:
    """Refuse a request of more than `MAX_PIECES` pieces; `what` names them in the message."""
    if count > MAX_PIECES:
        raise BadRequest(
            f"{what} makes {count} sequences and one request may bring at most {MAX_PIECES}: "
            "send them in several requests."
        )


def join(works: Sequence[Work]) -> Work:
    """Several inputs sent as one list: one `Work` whose answer is the list of theirs."""
    check_count(sum(len(work.pieces) for work in works), what="`inputs`")
    ends: list[int] = []
    for work in works:
        ends.append((ends[-1] if ends else 0) + len(work.pieces))

    def finish(outputs: Sequence[Any]) -> list[Any]:
        starts = [0, *ends[:-1]]
        return [work.finish(outputs[start:end]) for work, start, end in zip(works, starts, ends, strict=True)]

    return Work(
        pieces=[piece for work in works for piece in work.pieces],
        lengths=[length for work in works for length in work.lengths],
        finish=finish,
        group=works[0].group,
    )
