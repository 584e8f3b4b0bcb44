from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanza.models.weights import Header, Tensor, count_by_dtype, read_header

from .conftest import safetensors, weights

SOUND = weights()
HEADER_END = 8 + struct.unpack("<Q", SOUND[:8])[0]

write_often = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder: Path, content: bytes) -> Header:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return read_header(path)


def with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_sound_file(tmp_path: Path) -> None:
    header = read(tmp_path, SOUND)
    assert header.problems == ()
    assert header.tensors[1] == Tensor(name="classifier.weight", dtype="F16", shape=(2, 2), begin=64, end=72)
    assert count_by_dtype(header.tensors) == {"F32": 16, "F16": 4}


def test_scalars_empty_tensors_and_metadata_are_sound(tmp_path: Path) -> None:
    content = with_header(
        {"__metadata__": {"format": "pt"}, "a": entry(shape=[]), "b": entry(shape=[0, 7], offsets=[4, 4])},
        b"1234",
    )
    assert read(tmp_path, content).problems == ()
    assert read(tmp_path, safetensors({})).problems == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "too short"),
        (b"1234567", "too short"),
        (struct.pack("<Q", 2**63) + b"{}", "header says it is 9,223,372,036,854,775,808 bytes long"),
        (struct.pack("<Q", 3) + b"{}", "header says it is 3 bytes long"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 2) + b"{]", "not valid JSON"),
        (struct.pack("<Q", 2) + b"\xff\xff", "not valid JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "not valid JSON"),
        (with_header({"a": entry()}), "4 bytes of its data are missing"),
        (with_header({"a": entry()}, b"12345"), "1 bytes at the end belong to no tensor"),
        (with_header({"a": entry(), "b": entry()}, b"1234"), "overlaps"),
        (with_header({"a": entry(), "b": entry(offsets=[2, 6])}, b"123456"), "overlaps"),
        (with_header({"a": entry(offsets=[4, 8])}, b"12345678"), "4 bytes before tensor 'a'"),
        (with_header({"a": entry(shape=[2])}, b"1234"), "needs 8 bytes for its shape and has 4"),
        (with_header({"a": entry(dtype="F31")}, b"1234"), "unknown dtype 'F31'"),
        (with_header({"a": entry(dtype=32)}, b"1234"), "not described"),
        (with_header({"a": entry(shape=[-1])}, b"1234"), "impossible shape"),
        (with_header({"a": entry(shape=[1.0])}, b"1234"), "impossible shape"),
        (with_header({"a": entry(shape=[10**4000] * 9)}, b"1234"), "impossible shape"),
        (with_header({"a": entry(shape=[2**62, 2**62, 0])}, b"1234"), "impossible shape"),
        (with_header({"a": entry(offsets=[4, 0])}, b"1234"), "impossible offsets"),
        (with_header({"a": entry(offsets=[0, 10**30])}, b"1234"), "impossible offsets"),
        (with_header({"a": entry(offsets=[False, 4])}, b"1234"), "impossible offsets"),
        (with_header({"a": entry(offsets=[0])}, b"1234"), "not described"),
        (with_header({"a": 7}), "not described"),
        (with_header({"__metadata__": {"a": 1}}), "__metadata__"),
        (with_header({"__metadata__": 3}), "__metadata__"),
    ],
)
def test_what_lies_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in " ".join(read(tmp_path, content).problems)


def test_a_name_given_twice_is_named(tmp_path: Path) -> None:
    one = json.dumps(entry())
    text = f'{{"a": {one}, "a": {one}}}'.encode()
    header = read(tmp_path, struct.pack("<Q", len(text)) + text + b"1234")
    assert header.problems == ("the header names 'a' twice",)


def test_a_thousand_problems_are_told_in_short(tmp_path: Path) -> None:
    problems = read(tmp_path, with_header({f"t{number}": 0 for number in range(1000)})).problems
    assert len(problems) == 4
    assert "997 more" in problems[-1]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in read_header(tmp_path / "absent.safetensors").problems[0]


@write_often
@given(length=st.integers(0, len(SOUND) - 1))
def test_a_file_cut_anywhere_is_damaged(tmp_path: Path, length: int) -> None:
    assert read(tmp_path, SOUND[:length]).problems


@write_often
@given(content=st.binary(max_size=200))
def test_bytes_of_any_kind_raise_nothing(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, content)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@write_often
@given(
    header=st.dictionaries(st.text(max_size=3), JSON_VALUES, min_size=1, max_size=3),
    data=st.binary(max_size=9),
)
def test_headers_of_any_json_raise_nothing(tmp_path: Path, header: dict[str, Any], data: bytes) -> None:
    assume_metadata_only = set(header) <= {"__metadata__"}
    problems = read(tmp_path, with_header(header, data)).problems
    assert problems or assume_metadata_only


@write_often
@given(
    position=st.integers(0, HEADER_END - 1),
    value=st.integers(0, 255),
    insert=st.booleans(),
)
def test_what_is_sound_here_is_sound_to_the_library(
    tmp_path: Path, position: int, value: int, insert: bool
) -> None:
    """One byte of the header changed or added: we never find sound what safetensors refuses."""
    library = pytest.importorskip("safetensors")
    end = position if insert else position + 1
    content = SOUND[:position] + bytes([value]) + SOUND[end:]
    if not read(tmp_path, content).problems:
        library.deserialize(content)
