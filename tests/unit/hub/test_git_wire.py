"""Pushes on the wire: what is read, what is refused, what is reported; and the pointers of git-lfs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest
from lanza.hub.objects import read_pointer, write_pointer
from lanza.hub.receive import wrong_moves
from lanza.hub.refs import Move
from lanza.hub.wire import CAPABILITIES, LONGEST, Push, advertised, packet, packet_length, read_push, report

ONE, TWO, NONE = "1" * 40, "2" * 40, "0" * 40


def push(*moves: Move, banded: bool = False) -> Push:
    return Push(moves=moves, atomic=False, reported=True, banded=banded)


def test_commands_and_abilities_are_read() -> None:
    found = read_push(
        [
            b"shallow " + ONE.encode(),
            f"{ONE} {TWO} refs/heads/main\0 report-status side-band-64k atomic agent=git/2".encode(),
            f"{NONE} {TWO} refs/heads/ñ".encode(),
            f"{ONE} {NONE} refs/tags/v1\n".encode(),
        ]
    )
    assert found.moves == (
        Move("refs/heads/main", ONE, TWO),
        Move("refs/heads/ñ", None, TWO),
        Move("refs/tags/v1", ONE, None),
    )
    assert (found.reported, found.banded, found.atomic, found.brings_objects) == (True, True, True, True)
    assert not read_push([f"{ONE} {NONE} refs/tags/v1".encode()]).brings_objects


@pytest.mark.parametrize(
    "lines",
    [[b"push-cert x"], [b""], [f"{ONE} {TWO}".encode()], [f"{ONE[:39]} {TWO} refs/heads/x".encode()]],
)
def test_what_is_no_command_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(BadRequest, match="not what git sends"):
        read_push(lines)


def test_a_ref_cannot_be_moved_twice() -> None:
    with pytest.raises(BadRequest, match="only once"):
        read_push([f"{ONE} {TWO} refs/heads/x".encode()] * 2)


@pytest.mark.parametrize("digits", [b"0001", b"0004", b"fff1", b"zzzz", b" 1 2", b"-001"])
def test_a_packet_needs_a_length_that_can_be(digits: bytes) -> None:
    with pytest.raises(BadRequest):
        packet_length(digits)


@given(st.binary(min_size=1, max_size=LONGEST - 4))
def test_a_packet_says_how_long_it_is(content: bytes) -> None:
    made = packet(content)
    assert packet_length(made[:4]) == len(content)
    assert made[4:] == content


def test_refs_are_advertised_with_what_this_server_can_do() -> None:
    made = advertised([("refs/heads/main", ONE), ("refs/tags/v1", TWO)], agent="lanza/1")
    first, others = made[4 : 4 + packet_length(made[:4])], made[4 + packet_length(made[:4]) :]
    assert first == f"{ONE} refs/heads/main\0{CAPABILITIES} agent=lanza/1\n".encode()
    assert others == packet(f"{TWO} refs/tags/v1\n".encode()) + b"0000"
    assert f"{NONE} capabilities^{{}}\0".encode() in advertised([], agent="lanza/1")


def test_a_report_names_every_ref_in_one_line() -> None:
    told = report(
        push(Move("refs/heads/a", ONE, TWO), Move("refs/heads/b", ONE, TWO)), {"refs/heads/b": "no\nway"}
    )
    assert (
        told
        == packet(b"unpack ok\n")
        + packet(b"ok refs/heads/a\n")
        + packet(b"ng refs/heads/b no way\n")
        + b"0000"
    )


def test_long_reports_are_cut_into_packets() -> None:
    moves = [Move(f"refs/heads/{number}", ONE, TWO) for number in range(5000)]
    told = report(push(*moves, banded=True), {}, notes=["a note\x1b[31m"])
    bands = {1: b"", 2: b""}
    at = 0
    while length := packet_length(told[at : at + 4]):
        assert length + 4 <= LONGEST
        bands[told[at + 4]] += told[at + 5 : at + 4 + length]
        at += 4 + length
    assert at + 4 == len(told)
    assert bands[2] == b"a note [31m\n"
    assert bands[1].count(b"ok refs/heads/") == 5000
    assert bands[1].endswith(b"0000")


def test_who_does_not_want_a_report_gets_none() -> None:
    assert report(Push(moves=(), atomic=False, reported=False, banded=True), {}) == b""


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (Move("refs/pr/1", None, ONE), "only branches and tags"),
        (Move("HEAD", ONE, TWO), "only branches and tags"),
        (Move("refs/heads/a..b", None, ONE), "cannot be the name"),
        (Move("refs/heads/" + ONE, None, ONE), "cannot be the name"),
        (Move("refs/heads/main", ONE, None), "main stays"),
        (Move("refs/heads/x", None, None), "no such ref"),
        (Move("refs/heads/../../config", None, ONE), "cannot be the name"),
    ],
)
def test_some_refs_cannot_be_pushed(move: Move, why: str) -> None:
    assert why in wrong_moves([move])[move.ref]


def test_branches_and_tags_can_be_pushed() -> None:
    moves = [
        Move("refs/heads/main", ONE, TWO),
        Move("refs/heads/x", ONE, None),
        Move("refs/tags/v1", None, ONE),
    ]
    assert wrong_moves(moves) == {}


@given(st.integers(0, 10**18 - 1))
def test_a_pointer_is_read_as_it_was_written(size: int) -> None:
    found = read_pointer(write_pointer("ab" * 32, size))
    assert found is not None
    assert (found.sha256, found.size) == ("ab" * 32, size)


def test_a_pointer_may_have_extensions() -> None:
    text = write_pointer("ab" * 32, 1).replace(b"\noid", b"\next-0-foo sha256:" + b"cd" * 32 + b"\noid")
    found = read_pointer(text)
    assert found is not None
    assert found.sha256 == "ab" * 32


@pytest.mark.parametrize(
    "content",
    [
        b"",
        write_pointer("ab" * 32, 1) + b"more",
        write_pointer("AB" * 32, 1),
        write_pointer("ab" * 31, 1),
        write_pointer("ab" * 32, 10**20),
        b"version https://git-lfs.github.com/spec/v1\n"
        + b"ext-0-x y\n" * 200
        + write_pointer("ab" * 32, 1)[43:],
        b" " + write_pointer("ab" * 32, 1),
    ],
)
def test_other_files_are_no_pointers(content: bytes) -> None:
    assert read_pointer(content) is None
