"""What a task asks of an engine: pieces that may share a batch with others', and what is made of them.

A request becomes one `Work`. Its `pieces` (token sequences, images, clips) are queued one by one, so that a
long request and a short one mix well. As each comes back, `keep` reduces its output to what the answer needs,
so that a request of many pieces does not hold all that the model said; when the last one is back, `finish`
makes the answer. Nothing here waits, queues or runs a model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from lanza.errors import BadRequest

MAX_PIECES: Final = 1024
"""The most pieces that one request may bring: beyond it, one caller would hold the queue for seconds."""

MAX_TOKENS: Final = 65_536
"""The most tokens in all pieces of one request, for the same reason."""


def _whole(index: int, output: Any) -> Any:
    return output


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One request's share of the engine.

    `lengths` has the cost of each piece in tokens (or what is nearest to a token for the modality).
    Only pieces of one `group` share a batch. `keep(i, output)` gives what is kept of the output of piece i,
    copied, for outputs are views into their batch; `finish` gets one kept value per piece, in order.
    """

    pieces: Sequence[Any]
    lengths: Sequence[int]
    finish: Callable[[Sequence[Any]], Any]
    keep: Callable[[int, Any], Any] = _whole
    group: Hashable = None


def check_count(count: int, *, what: str) -> None:
    """Refuse a request of more than `MAX_PIECES` pieces; `what` names them in the message."""
    if count > MAX_PIECES:
        raise BadRequest(
            f"{what} makes {count} sequences and one request may bring at most {MAX_PIECES}: "
            "send them in several requests."
        )


def check_size(work: Work) -> Work:
    """`work`, unless it is more than one request may bring."""
    check_count(len(work.pieces), what="this request")
    tokens = sum(work.lengths)
    if tokens > MAX_TOKENS:
        raise BadRequest(
            f"this request makes {tokens} tokens and one may bring at most {MAX_TOKENS}: "
            "send it in several requests."
        )
    return work


def one_or_list(inputs: Any, make: Callable[[Any], Work], *, of: str = "one text") -> Work:
    """The work of `inputs`: a list of inputs is answered by a list of answers, anything else by one.

    Raises BadRequest for an empty list (which wants at least `of`) or one that is too long.
    """
    if not isinstance(inputs, list):
        return make(inputs)
    if not inputs:
        raise BadRequest(f"`inputs` is an empty list: send at least {of}.")
    check_count(len(inputs), what="`inputs`")
    return join([make(item) for item in inputs])


def join(works: Sequence[Work]) -> Work:
    """Several inputs sent as one list: one `Work` whose answer is the list of theirs."""
    ends = list(accumulate(len(work.pieces) for work in works))
    starts = [0, *ends[:-1]]
    owners = [
        (work, i - start)
        for work, start, end in zip(works, starts, ends, strict=True)
        for i in range(start, end)
    ]

    def keep(index: int, output: Any) -> Any:
        work, own_index = owners[index]
        return work.keep(own_index, output)

    def finish(kept: Sequence[Any]) -> list[Any]:
        return [work.finish(kept[start:end]) for work, start, end in zip(works, starts, ends, strict=True)]

    return Work(
        pieces=[piece for work in works for piece in work.pieces],
        lengths=[length for work in works for length in work.lengths],
        keep=keep,
        finish=finish,
        group=works[0].group,
    )
