"""The waiting line of a replica: what runs next, and with what.

The model: a request (`Ticket`) brings pieces, each with a cost in tokens. Requests take turns, so that a
short one never waits for all of a long one. `take` chooses a batch around a piece of the request whose turn
it is: its neighbours in length from all requests, of its group, up to a budget of tokens, padding counted.
Requests that were given up are dropped on the way. Plain data under nobody's lock: the batcher holds one
around every call. Nothing here waits or knows the time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from lanza.tasks.work import Work

LOOKAHEAD: Final = 256
"""How many pieces are considered for a batch."""

PADDING: Final = 1.5
"""A piece joins a batch only while the longest is at most this many times (and `SLACK` tokens) longer."""
SLACK: Final = 16


@dataclass(eq=False, slots=True)
class Ticket:
    """One request in the line.

    `pending` are the numbers of the pieces that have not been taken, the shortest first; `kept[i]` is filled
    when piece i has run, and `left` counts those to come.
    """

    work: Work
    pending: list[int] = field(init=False)
    kept: list[Any] = field(init=False)
    left: int = field(init=False)
    given_up: bool = False

    def __post_init__(self) -> None:
        count = len(self.work.pieces)
        self.pending = sorted(range(count), key=self.work.lengths.__getitem__)
        self.kept = [None] * count
        self.left = count

    def put(self, index: int, value: Any) -> bool:
        """Store what is kept of one output; true when it was the last one."""
        self.kept[index] = value
        self.left -= 1
        return self.left == 0

    def near(self, length: int, most: int) -> list[int]:
        """Up to `most` pending pieces whose lengths are near to `length`."""
        if len(self.pending) <= most:
            return self.pending
        middle = bisect_left(self.pending, length, key=self.work.lengths.__getitem__)
        first = min(max(0, middle - most // 2), len(self.pending) - most)
        return self.pending[first : first + most]


@dataclass(frozen=True, slots=True)
class Entry:
    """Piece number `index` of a ticket, `length` tokens long."""

    ticket: Ticket
    index: int
    length: int

    @property
    def piece(self) -> Any:
        return self.ticket.work.pieces[self.index]


class Line:
    """Requests in order of their turns. `len` counts pieces, `tokens` adds up their lengths."""

    def __init__(self) -> None:
        self._tickets: deque[Ticket] = deque()
        self._pieces = 0
        self.tokens = 0

    def __len__(self) -> int:
        return self._pieces

    def push(self, ticket: Ticket) -> None:
        self._tickets.append(ticket)
        self._pieces += len(ticket.pending)
        self.tokens += sum(ticket.work.lengths)

    def drop_given_up(self) -> None:
        """Forget the requests that nobody waits for any more."""
        self._tickets = deque(ticket for ticket in self._tickets if not ticket.given_up)
        self._pieces = sum(len(ticket.pending) for ticket in self._tickets)
        self.tokens = sum(t.work.lengths[i] for t in self._tickets for i in t.pending)

    def take(self, *, budget: int, most: int) -> list[Entry]:
        """Remove and return the next batch: at most `most` pieces and `budget` tokens, padding counted.

        A piece that is larger than the budget runs alone. Empty when nothing waits.
        """
        if any(ticket.given_up for ticket in islice(self._tickets, LOOKAHEAD)):
            self.drop_given_up()
        if not self._tickets:
            return []
        first = self._tickets[0]
        # Its longest piece: what remains for the end of a long request packs better when it is short.
        index = first.pending[-1]
        anchor = Entry(first, index, first.work.lengths[index])
        batch = [anchor]
        if most > 1 and self._pieces > 1:
            batch += choose(anchor, self._neighbours(anchor), budget=budget, most=most)
        self._remove(batch)
        return batch

    def _neighbours(self, anchor: Entry) -> list[Entry]:
        """Pieces that might run beside `anchor`, those of other requests in the order of their turns."""
        found: list[Entry] = []
        for ticket in self._tickets:
            if ticket.work.group != anchor.ticket.work.group:
                continue
            lengths = ticket.work.lengths
            near = ticket.near(anchor.length, LOOKAHEAD - len(found))
            found += [
                Entry(ticket, i, lengths[i]) for i in near if (ticket, i) != (anchor.ticket, anchor.index)
            ]
            if len(found) >= LOOKAHEAD - 1:
                break
        return found

    def _remove(self, batch: Sequence[Entry]) -> None:
        for entry in batch:
            entry.ticket.pending.remove(entry.index)
        self._pieces -= len(batch)
        self.tokens -= sum(entry.length for entry in batch)
        first = self._tickets.popleft()
        if first.pending:
            self._tickets.append(first)
        if any(not entry.ticket.pending for entry in batch if entry.ticket is not first):
            self._tickets = deque(ticket for ticket in self._tickets if ticket.pending)


def choose(anchor: Entry, others: list[Entry], *, budget: int, most: int) -> list[Entry]:
    """Those of `others` that join `anchor`: nearest in length first, while budget and padding allow."""
    chosen: list[Entry] = []
    shortest = longest = anchor.length
    for entry in sorted(others, key=lambda entry: abs(entry.length - anchor.length)):
        low, high = min(shortest, entry.length), max(longest, entry.length)
        if len(chosen) + 1 == most or high * (len(chosen) + 2) > budget or high > low * PADDING + SLACK:
            break
        shortest, longest = low, high
        chosen.append(entry)
    return chosen
