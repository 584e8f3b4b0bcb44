"""Headers and budgets of the edge, without a socket."""

from __future__ import annotations

import pytest

from lanza.errors import Overloaded
from lanza.replica.http import Budget, header_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", b"plain"),
        ("a\nb\r\nSet-Cookie: x", b"a b Set-Cookie: x"),
        ("\x1b[96mThis is step 1\x1b[0m", b"[96mThis is step 1 [0m"),
        ("within 2e-06 · día", b"within 2e-06 d a"),
        ("x" * 1000, b"x" * 300),
    ],
)
def test_a_reason_is_one_printable_line(text: str, expected: bytes) -> None:
    assert b" ".join(header_text(text).split()) == expected


def test_bodies_share_a_budget() -> None:
    budget = Budget(100)
    budget.take(60)
    with pytest.raises(Overloaded):
        budget.take(41)
    budget.give_back(60)
    budget.take(100)
