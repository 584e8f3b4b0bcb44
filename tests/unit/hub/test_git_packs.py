"""Packs that are written here are read by git."""

from __future__ import annotations

import io
import os
import struct
import subprocess
from pathlib import Path

import pytest

from lanza.hub import packs
from lanza.hub.packs import Kind, Pack, object_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "x.git")], check=True)
    return tmp_path / "x.git"


def git(folder: Path, *arguments: str, input: bytes = b"") -> bytes:
    command = ["git", "--git-dir", str(folder), *arguments]
    return subprocess.run(command, input=input, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"x" * 15,
        b"x" * 16,
        b"y" * 2047,
        b"y" * 2048,
        b"z" * 3_000_000,
        os.urandom(5000),
        os.urandom(300_000),
    ],
    ids=len,
)
def test_git_reads_back_what_was_written(folder: Path, content: bytes) -> None:
    pack = Pack()
    oid = pack.add(Kind.BLOB, content)
    pack.write(folder / "objects")
    assert git(folder, "cat-file", "blob", oid.hex()) == content
    assert git(folder, "hash-object", "--stdin", input=content).decode().strip() == oid.hex()


def test_git_verifies_a_pack_of_many(folder: Path) -> None:
    pack = Pack()
    oids = [pack.add(Kind.BLOB, b"%d" % number) for number in range(2000)]
    assert pack.add(Kind.BLOB, b"7") == oids[7]
    assert len(pack) == 2000
    pack.write(folder / "objects")
    (index,) = (folder / "objects" / "pack").glob("*.idx")
    assert git(folder, "verify-pack", "-v", str(index)).count(b" blob ") == 2000
    assert sorted(path.suffix for path in index.parent.iterdir()) == [".idx", ".pack"]


def test_what_does_not_shrink_is_not_compressed(folder: Path) -> None:
    pack = Pack()
    pack.add(Kind.BLOB, os.urandom(2**20))
    pack.add(Kind.BLOB, b"a text " * 2**17)
    pack.write(folder / "objects")
    (written,) = (folder / "objects" / "pack").glob("*.pack")
    assert 2**20 < written.stat().st_size < 2**20 + 20_000


def test_places_beyond_two_gigabytes_are_in_a_table_of_their_own() -> None:
    places = [
        packs._Place(bytes([number]) * 20, offset, number)
        for number, offset in ((1, 12), (2, 2**33), (3, 2**31))
    ]
    file = io.BytesIO()
    packs._write_index(file, places, bytes(20))
    data = file.getvalue()
    at = 8 + 1024 + 3 * 20 + 3 * 4
    assert struct.unpack_from(">3I", data, at) == (12, 2**31, 2**31 + 1)
    assert struct.unpack_from(">2Q", data, at + 12) == (2**33, 2**31)
    assert len(data) == at + 12 + 16 + 40


def test_ids_are_those_of_git() -> None:
    assert object_id(Kind.BLOB, b"").hex() == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert object_id(Kind.TREE, b"").hex() == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
