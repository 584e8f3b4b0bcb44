from __future__ import annotations

import pytest

from lanza.errors import RangeNotSatisfiable
from lanza.hub.api.ranges import Span, asked_span, has_already

TAG = '"abc"'


def span(asked: str, size: int = 10, **headers: str) -> tuple[int, int] | None:
    found = asked_span({"range": asked, **headers}, etag=TAG, size=size)
    return None if found is None else (found.start, found.stop)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-500", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("BYTES = 1 - 2", (1, 3)),
    ],
)
def test_one_range_is_served(asked: str, found: tuple[int, int]) -> None:
    assert span(asked) == found


@pytest.mark.parametrize(
    "asked",
    ["", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b", "bytes=1", f"bytes={'9' * 30}-"],
)
def test_what_makes_no_sense_or_is_several_gets_the_whole_file(asked: str) -> None:
    assert span(asked) is None


@pytest.mark.parametrize(
    ("asked", "size"), [("bytes=10-", 10), ("bytes=99-", 10), ("bytes=0-", 0), ("bytes=-0", 10)]
)
def test_a_range_behind_the_end_is_refused_with_the_size(asked: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as raised:
        span(asked, size)
    assert raised.value.size == size


def test_a_range_of_another_version_gets_the_whole_file() -> None:
    assert span("bytes=2-", **{"if-range": TAG}) == (2, 10)
    assert span("bytes=2-", **{"if-range": '"other"'}) is None
    assert span("bytes=2-", **{"if-range": f"W/{TAG}"}) is None


@pytest.mark.parametrize(
    ("asked", "same"),
    [('"abc"', True), ('W/"abc"', True), ('"x", "abc"', True), ("*", True), ('"ab"', False), ("", False)],
)
def test_a_file_that_the_client_has_is_not_sent_again(asked: str, same: bool) -> None:
    assert has_already({"if-none-match": asked}, TAG) is same


def test_a_span_says_what_it_is_of() -> None:
    assert Span(start=2, stop=6).header(10) == "bytes 2-5/10"
    assert Span(start=2, stop=6).size == 4
