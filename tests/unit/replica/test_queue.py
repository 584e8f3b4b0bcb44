from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanza.replica.queue import PADDING, SLACK, Line, Ticket, choose
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
    assert {entry.group for entry in made.take(budget=100, most=10)} == {"a"}
    assert {entry.group for entry in made.take(budget=100, most=10)} == {"b"}


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
    assert made.outputs == ["a", "b"]


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


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40))
def test_the_oldest_is_always_in_the_batch(sizes: list[int]) -> None:
    made = Line()
    made.push(ticket(*sizes))
    first = made.take(budget=512, most=8)[0]
    assert first.index == 0


def test_choose_takes_the_front_when_there_is_one() -> None:
    made = Line()
    made.push(ticket(3))
    assert len(choose(made._entries, budget=1, most=1)) == 1
