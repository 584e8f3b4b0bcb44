"""The log of a handler is bounded whatever it prints."""

from __future__ import annotations

from lanza.engines.handler.lines import KEPT, LINES_PER_SECOND, LONGEST_LINE, LineLog


def feed(log: LineLog, data: bytes, now: float = 0.0) -> list[str]:
    return list(log.feed(data, now=now))


def test_lines_are_put_together_from_parts() -> None:
    log = LineLog()
    assert feed(log, b"uno\nd") == ["uno"]
    assert feed(log, b"os\r\n\ntr\xc3") == ["dos", ""]
    assert feed(log, b"\xa9s") == []
    assert list(log.finish()) == ["trés"]


def test_a_line_without_end_is_cut_and_not_kept() -> None:
    log = LineLog()
    for _ in range(1000):
        assert feed(log, b"x" * 65_536) == []
    (line,) = feed(log, b"\nnext")
    assert line == "x" * LONGEST_LINE + "…"
    assert list(log.finish()) == ["next"]


def test_a_line_of_just_the_limit_is_whole() -> None:
    assert feed(LineLog(), b"x" * LONGEST_LINE + b"\n") == ["x" * LONGEST_LINE]


def test_what_is_too_much_within_a_second_is_counted_and_dropped() -> None:
    log = LineLog()
    shown = feed(log, b"line\n" * (LINES_PER_SECOND + 700), now=5.1)
    shown += feed(log, b"line\n" * 300, now=5.9)
    assert shown == ["line"] * LINES_PER_SECOND
    assert feed(log, b"after\n", now=6.0) == [
        "(1000 more lines were printed within a second and are left out)",
        "after",
    ]


def test_the_last_lines_are_known_even_when_they_were_dropped() -> None:
    log = LineLog()
    feed(log, b"".join(b"%d\n" % i for i in range(5000)))
    assert list(log.last) == [str(i) for i in range(5000 - KEPT, 5000)]
