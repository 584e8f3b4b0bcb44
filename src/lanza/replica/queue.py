"""The waiting line of a replica: what runs next, and with what.

The model: a request (`Ticket`) brings pieces, each with a cost in tokens. `take` chooses a batch around the
piece that has waited longest: its neighbours in length, of the same group, up to a budget of tokens with
padding counted. Requests that were given up are dropped on the way. Plain data under nobody's lock: the
batcher holds one around every call. Nothing here waits or knows the time.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lanza.tasks.work import Work

LOOKAHEAD: Final = 256
"""How many pieces from the front are considered for a batch."""

PADDING: Final = 1.5
"""A piece joins a batch only while the longest is at most this many times (and `SLACK` tokens) longer."""
SLACK: Final = 16


@dataclass(eq=False, slots=True)
class Ticket:
    """One request in the line. `outputs[i]` is filled when piece i has run; `left` counts those to come."""

    work: Work
    outputs: list[Any] = field(init=False)
    left: int = field(init=False)
    given_up: bool = False

    def __post_init__(self) -> None:
        self.outputs = [None] * len(self.work.pieces)
        self.left = len(self.work.pieces)

    def put(self, index: int, output: Any) -> bool:
        """Store one output; true when it was the last one."""
        self.outputs[index] = output
        self.left -= 1
        return self.left == 0


@dataclass(frozen=True, slots=True)
class Entry:
    """Piece number `index` of a ticket."""

    ticket: Ticket
    index: int

    @property
    def length(self) -> int:
        return self.ticket.work.lengths[self.index]

    @property
    def group(self) -> Hashable:
        return self.ticket.work.group

    @property
    def piece(self) -> Any:
        return self.ticket.work.pieces[self.index]


class Line:
    """Pieces in order of arrival."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, ticket: Ticket) -> None:
        self._entries += [Entry(ticket, index) for index in range(len(ticket.work.pieces))]
        self.tokens += sum(ticket.work.lengths)

    def drop_given_up(self) -> None:
        """Forget the pieces of requests that nobody waits for any more."""
        self._keep([entry for entry in self._entries if not entry.ticket.given_up])

    def _keep(self, entries: list[Entry]) -> None:
        self._entries = entries
        self.tokens = sum(entry.length for entry in entries)

    def take(self, *, budget: int, most: int) -> list[Entry]:
        """Remove and return the next batch: at most `most` pieces and `budget` tokens, padding counted.

        A piece that is larger than the budget runs alone. Empty when nothing waits.
        """
        if any(entry.ticket.given_up for entry in self._entries[:LOOKAHEAD]):
            self.drop_given_up()
        if not self._entries:
            return []
        batch = choose(self._entries[:LOOKAHEAD], budget=budget, most=most)
        taken = set(map(id, batch))
        front = [entry for entry in self._entries[:LOOKAHEAD] if id(entry) not in taken]
        self._entries[:LOOKAHEAD] = front
        self.tokens -= sum(entry.length for entry in batch)
        return batch


def choose(entries: Sequence[Entry], *, budget: int, most: int) -> list[Entry]:
    """The batch around `entries[0]`: nearest in length first, while budget and padding allow."""
    oldest = entries[0]
    batch = [oldest]
    if len(entries) == 1 or most == 1:
        return batch
    shortest = longest = oldest.length
    others = [entry for entry in entries[1:] if entry.group == oldest.group]
    others.sort(key=lambda entry: abs(entry.length - oldest.length))
    for entry in others:
        low, high = min(shortest, entry.length), max(longest, entry.length)
        if len(batch) == most or high * (len(batch) + 1) > budget:
            break
        if high > low * PADDING + SLACK:
            break
        shortest, longest = low, high
        batch.append(entry)
    return batch
