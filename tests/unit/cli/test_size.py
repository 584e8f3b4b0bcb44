"""Amounts of bytes, as options have them."""

from __future__ import annotations

import pytest

from lanza.cli.size import size
from lanza.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500MB", 500_000_000), ("1.5gb", 1_500_000_000), ("2TB", 2 * 10**12), ("7B", 7), ("0GB", 0)],
)
def test_a_number_and_a_unit(text: str, expected: int) -> None:
    assert size(text, "--quota") == expected


@pytest.mark.parametrize("text", ["", "50", "GB", "-1GB", "5 GB", "5GiB", "1e3MB", "9999999GB"])
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--quota wants a number and a unit"):
        size(text, "--quota")
