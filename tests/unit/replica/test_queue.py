from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanza.replica.queue import PADDING, SLACK, Line, Ticket
from lanza.tasks.work import Work


def ticket(*lengths: int, group: object = None) -> Ticket:
    pieces = list(range(len(lengths)))
    return Ticket(Work(pieces=pieces, lengths=lengths, finish=list, group=group))  # type: ignore[arg-type]


def line(*tickets: Ticket) -> Line:
    made = Line()
    for each in tickets:
        made.push(each)
    return made


def test_the_oldest_runs_first_with_its_nearest_neighbours_in_length() -> None:
    made = line(ticket(10), ticket(200), ticket(11), ticket(12))
    batch = made.take(budget=36, most=10)
    assert [entry.length for entry in batch] == [10, 11, 12]
    assert [entry.length for entry in made.take(budget=36, most=10)] == [200]


def test_padding_counts_towards_the_budget() -> None:
    made = line(*(ticket(n) for n in (10, 10, 10, 20)))
    # four of 20 tokens with padding would be 80
    assert len(made.take(budget=70, most=10)) == 3


def test_a_piece_larger_than_the_budget_runs_alone() -> None:
    made = line(ticket(900), ticket(900))
    assert len(made.take(budget=100, most=10)) == 1
    assert len(made) == 1


def test_groups_do_not_mix() -> None:
    made = line(ticket(10, group="a"), ticket(10, group="b"), ticket(10, group="a"))
    assert [entry.ticket.work.group for entry in made.take(budget=100, most=10)] == ["a", "a"]
    assert [entry.ticket.work.group for entry in made.take(budget=100, most=10)] == ["b"]


def test_requests_given_up_are_never_taken() -> None:
    gone, here = ticket(5, 5, 5), ticket(5)
    made = line(gone, here)
    gone.given_up = True
    assert [entry.ticket for entry in made.take(budget=100, most=10)] == [here]
    assert len(made) == 0
    assert made.tokens == 0


def test_a_ticket_is_complete_with_its_last_piece() -> None:
    made = ticket(1, 1)
    assert not made.put(1, "b")
    assert made.put(0, "a")
    assert made.kept == ["a", "b"]


lengths = st.lists(st.lists(st.integers(1, 600), min_size=1, max_size=5), max_size=40)


@given(lengths, st.integers(1, 2000), st.integers(1, 64))
def test_every_piece_is_taken_once_within_the_bounds(
    requests: list[list[int]], budget: int, most: int
) -> None:
    tickets = [ticket(*each) for each in requests]
    made = line(*tickets)
    seen: list[tuple[int, int]] = []
    while batch := made.take(budget=budget, most=most):
        sizes = [entry.length for entry in batch]
        assert len(batch) == 1 or len(batch) * max(sizes) <= budget
        assert len(batch) <= most
        assert max(sizes) <= min(sizes) * PADDING + SLACK
        seen += [(tickets.index(entry.ticket), entry.index) for entry in batch]
    assert sorted(seen) == [(i, j) for i, each in enumerate(requests) for j in range(len(each))]
    assert made.tokens == 0


def test_requests_take_turns() -> None:
    """A short request that comes after a long one waits for one batch of it, not for all of it."""
    long, short = ticket(*[240] * 500), ticket(5)
    made = line(long, short)
    assert {entry.ticket for entry in made.take(budget=512, most=64)} == {long}
    assert {entry.ticket for entry in made.take(budget=512, most=64)} == {short}
    assert {entry.ticket for entry in made.take(budget=512, most=64)} == {long}


def test_a_short_request_joins_a_batch_of_a_long_one() -> None:
    long, short = ticket(*[10] * 400), ticket(10)
    batch = line(long, short).take(budget=10_000, most=300)
    assert len(batch) > 200
    late = line(ticket(*[10] * 100), short)
    assert short in {entry.ticket for entry in late.take(budget=10_000, most=300)}


@given(lengths.filter(bool), st.integers(1, 2000), st.integers(1, 8))
def test_no_request_waits_for_more_batches_than_there_are_requests_before_it(
    requests: list[list[int]], budget: int, most: int
) -> None:
    tickets = [ticket(*each) for each in requests]
    made = line(*tickets)
    for turn, expected in enumerate(tickets):
        if len(expected.pending) < len(expected.work.pieces):
            continue  # some of it has run already, as a neighbour
        batches = [made.take(budget=budget, most=most) for _ in range(len(tickets))]
        assert any(entry.ticket is expected for batch in batches for entry in batch), turn
        break
