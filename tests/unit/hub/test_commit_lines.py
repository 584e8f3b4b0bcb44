from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest, PayloadTooLarge
from lanza.hub.api.commit import CommitReader
from lanza.hub.commits import Header, LargeFile, Operation
from lanza.hub.hub import HubLimits
from lanza.hub.trees import Delete, DeleteFolder, Put

LIMITS = HubLimits(regular_bytes=1000, commit_bytes=200_000, commit_files=5)
HEADER = {"key": "header", "value": {"summary": "Add weights", "description": ""}}
SHA256 = "ab" * 32


def text(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def file(path: str, content: bytes = b"hello") -> Any:
    encoded = base64.b64encode(content).decode()
    return {"key": "file", "value": {"path": path, "content": encoded, "encoding": "base64"}}


def read(body: bytes, *, step: int = 2**20, limits: HubLimits = LIMITS) -> tuple[Header, list[Operation]]:
    reader = CommitReader(limits)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.close()


WHOLE = text(
    {"key": "header", "value": {"summary": "Add", "description": "more", "parentCommit": "a" * 40}},
    file("a/b.txt"),
    {"key": "lfsFile", "value": {"path": "w.bin", "algo": "sha256", "oid": SHA256, "size": 5}},
    {"key": "lfsFile", "value": {"path": "copy.bin", "algo": "sha256", "oid": SHA256}},
    {"key": "deletedFile", "value": {"path": "old.txt"}},
    {"key": "deletedFolder", "value": {"path": "old/"}},
)


@given(st.integers(1, 700))
def test_lines_are_read_however_the_body_is_cut(step: int) -> None:
    header, operations = read(WHOLE, step=step)
    assert header == Header(title="Add", description="more", parent="a" * 40)
    assert operations == [
        Put(path="a/b.txt", content=b"hello"),
        LargeFile(path="w.bin", sha256=SHA256, size=5),
        LargeFile(path="copy.bin", sha256=SHA256),
        Delete(path="old.txt"),
        DeleteFolder(path="old"),
    ]


def test_the_last_line_needs_no_end_and_empty_lines_are_nothing() -> None:
    _, operations = read(b"\n" + text(HEADER) + b"\n\r\n" + text(file("a.txt")).rstrip(b"\n"))
    assert operations == [Put(path="a.txt", content=b"hello")]


def test_a_summary_of_several_lines_is_a_title_and_more() -> None:
    header, _ = read(text({"key": "header", "value": {"summary": "One\n\ntwo", "description": "three"}}))
    assert header == Header(title="One", description="two\n\nthree")


def wrong_file(**value: Any) -> Any:
    return {"key": "file", "value": {"path": "a.txt", "content": "", **value}}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([file("a.txt")], "line 1"),
        ([HEADER, HEADER], "line 2"),
        ([{"key": "header", "value": {"summary": "  "}}], "summary"),
        ([{"key": "header", "value": {"summary": "x", "parentCommit": "main"}}], "parentCommit"),
        ([{"key": "header", "value": {"summary": "a\0b"}}], "NUL"),
        ([HEADER, {"key": "mystery", "value": {}}], "mystery"),
        ([HEADER, {"value": {}}], "line 2"),
        ([HEADER, ["no", "object"]], "line 2"),
        ([HEADER, wrong_file(content="%%%")], "not valid base64"),
        ([HEADER, wrong_file(encoding="rot13")], "rot13"),
        ([HEADER, file("../etc/passwd")], "../etc/passwd"),
        ([HEADER, file("/etc/passwd")], "/etc/passwd"),
        ([HEADER, file("a/.git/config")], "git"),
        ([HEADER, file("a\nb")], "control"),
        ([HEADER, file("big.txt", bytes(1001))], "large files"),
        ([HEADER, {"key": "lfsFile", "value": {"path": "w", "oid": "../../x"}}], "oid"),
        ([HEADER, {"key": "lfsFile", "value": {"path": "w", "oid": SHA256, "size": -1}}], "size"),
        ([HEADER, {"key": "lfsFile", "value": {"path": "w", "oid": SHA256, "algo": "md5"}}], "md5"),
        ([HEADER, {"key": "deletedFile", "value": {"path": ""}}], "line 2"),
        ([HEADER, *(file(f"{number}.txt") for number in range(6))], "5 files"),
    ],
)
def test_a_wrong_line_is_named(lines: list[Any], says: str) -> None:
    with pytest.raises(BadRequest, match="line") as raised:
        read(text(*lines))
    assert says in raised.value.message


def test_no_lines_are_no_commit() -> None:
    with pytest.raises(BadRequest, match="header"):
        read(b"\n")


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_without_end_is_not_kept(ended: bool) -> None:
    body = text(HEADER) + b"x" * 90_000 + b"\n" * ended
    with pytest.raises(PayloadTooLarge, match="line 2"):
        read(body, step=1000)


def test_a_commit_that_is_too_long_is_not_kept() -> None:
    limits = HubLimits(regular_bytes=1000, commit_bytes=3000)
    with pytest.raises(PayloadTooLarge, match="3,000"):
        read(text(HEADER, *(file(f"{n}.txt", bytes(900)) for n in range(4))), limits=limits)


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([*WHOLE.split(b"\n"), b"{", b"\xff"])).map(b"\n".join)
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with suppress(BadRequest, PayloadTooLarge):
        read(body)
