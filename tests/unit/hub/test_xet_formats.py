"""What Xet clients send is decoded, in whatever pieces it comes; what is wrong is named."""

from __future__ import annotations

import hashlib
import random
import struct
from contextlib import suppress
from itertools import accumulate

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.errors import BadRequest, PayloadTooLarge
from lanza.hub.xet import formats
from lanza.hub.xet.chunks import Chunks, Span
from lanza.hub.xet.formats import File, Term, Unpacker, chunk_hash, hash_of_list, hash_text, read_shard
from xet_files import END, TAG, file, packed, shard, wire, xorb

NOISE = random.Random(2)
CHUNKS = [NOISE.randbytes(size) for size in (1, 2, 3, 4, 5, 1000, 70_001, 131_072)]
ONE, TWO, THREE, FOUR = (
    "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
    "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
    "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
    "adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784",
)


@pytest.mark.parametrize(
    ("nodes", "root"),
    [
        ([(ONE, 100)], ONE),
        (
            [(ONE, 100), (TWO, 200), (THREE, 300)],
            "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
        ),
        ([(ONE, 100)] * 4, "89f2ada89ff8c96763c6b25010e6dd76a4c05b1466207633ea559acf2093211b"),
        (
            [(ONE, 100), (TWO, 200), (ONE, 100), (TWO, 200), (THREE, 300), (FOUR, 400)],
            "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
        ),
    ],
)
def test_xorbs_have_the_hashes_that_xet_core_gives_them(nodes: list[tuple[str, int]], root: str) -> None:
    assert hash_text(hash_of_list([(wire(name), size) for name, size in nodes])) == root


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize("step", [1, 7, 8, 9, 65_536, 10**9])
def test_chunks_come_out_as_they_went_in_whatever_the_pieces(scheme: int, step: int) -> None:
    chunks = CHUNKS if step > 1 else CHUNKS[:6]
    data = b"".join(packed(chunk, scheme) for chunk in chunks)
    unpacker = Unpacker()
    found = [
        bytes(chunk)
        for start in range(0, len(data), step)
        for chunk in unpacker.feed(data[start : start + step])
    ]
    assert found == chunks
    assert unpacker.lengths == [len(chunk) for chunk in chunks]
    expected = hash_of_list([(chunk_hash(chunk), len(chunk)) for chunk in chunks])
    assert unpacker.finish() == hash_text(expected)


@pytest.mark.parametrize("step", [3, 10**9])
def test_an_old_clients_footer_is_read_over(step: int) -> None:
    name, data = xorb(CHUNKS)
    data += b"XETBLOB\1" + b"something" * 100
    unpacker = Unpacker()
    found = [
        bytes(chunk)
        for start in range(0, len(data), step)
        for chunk in unpacker.feed(data[start : start + step])
    ]
    assert found == CHUNKS
    assert unpacker.finish() == name


def header(packed: int, scheme: int, length: int, version: int = 0) -> bytes:
    return bytes([version]) + packed.to_bytes(3, "little") + bytes([scheme]) + length.to_bytes(3, "little")


BOMB = lz4.frame.compress(bytes(2**24))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(4, 0, 4, version=1) + b"abcd", "version 1"),
        (header(4, 3, 4) + b"abcd", "scheme 3"),
        (header(4, 0, 5) + b"abcd", "has others"),
        (header(32, 1, 4) + b"abcd" * 8, "no LZ4 frame"),
        (header(4, 0, 0) + b"abcd", "none of Xet's"),
        (header(0, 0, 4), "none of Xet's"),
        (header(4, 0, 131_073), "none of Xet's"),
        (header(300_000, 1, 100), "none of Xet's"),
        (header(len(BOMB), 1, 100) + BOMB, "has others"),
        (header(len(BOMB), 2, 131_072) + BOMB, "has others"),
    ],
)
def test_a_chunk_that_is_none_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        Unpacker().feed(data)


@pytest.mark.parametrize("cut", [1, 7, 8, 100])
def test_a_xorb_that_is_cut_off_is_refused(cut: int) -> None:
    _, data = xorb([b"x" * 200])
    unpacker = Unpacker()
    unpacker.feed(data[:cut])
    with pytest.raises(BadRequest, match="cut off"):
        unpacker.finish()


def test_a_xorb_without_chunks_is_refused() -> None:
    with pytest.raises(BadRequest, match="no chunks"):
        Unpacker().finish()


def test_a_xorb_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MOST_UNPACKED", 1000)
    with pytest.raises(PayloadTooLarge):
        Unpacker().feed(packed(bytes(600), 1) * 2)
    monkeypatch.setattr(formats, "MOST_CHUNKS", 2)
    with pytest.raises(PayloadTooLarge):
        Unpacker().feed(packed(b"a") * 3)


def test_a_shard_says_how_files_are_made() -> None:
    ranges = [(ONE, 0, 3, 300), (TWO, 5, 6, 40)]
    files = [file(b"a", ranges), file(b"b", ranges[:1], verified=False), file(b"", [])]
    read = read_shard(shard(*files, xorbs=[THREE, FOUR]))
    assert read.xorbs == [THREE, FOUR]
    assert read.files == [
        File(
            sha256=hashlib.sha256(b"a").hexdigest(),
            terms=(Term(xorb=ONE, first=0, last=3, size=300), Term(xorb=TWO, first=5, last=6, size=40)),
        ),
        File(sha256=hashlib.sha256(b"b").hexdigest(), terms=(Term(xorb=ONE, first=0, last=3, size=300),)),
        File(sha256=hashlib.sha256(b"").hexdigest(), terms=()),
    ]


GOOD = shard(file(b"a", [(ONE, 0, 3, 300)]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no Xet shard"),
        (b"x" * 200, "no Xet shard"),
        (TAG + struct.pack("<QQ", 3, 0) + END, "version 3"),
        (TAG + struct.pack("<QQ", 2, 0), "cut off"),
        (GOOD[:150], "cut off"),
        (GOOD[:-48], "cut off"),
        (
            TAG + struct.pack("<QQ", 2, 0) + struct.pack("<32sIIQ", b"f" * 32, 1 << 30, 2**32 - 1, 0),
            "cut off",
        ),
        (TAG + struct.pack("<QQ", 2, 0) + struct.pack("<32sIIQ", b"f" * 32, 0, 0, 0) + END, "SHA-256"),
        (shard(file(b"a", [(ONE, 3, 3, 300)])), "without chunks"),
        (shard(file(b"a", [(ONE, 4, 3, 300)])), "without chunks"),
    ],
)
def test_a_shard_that_is_none_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        read_shard(data)


@given(st.binary(max_size=400))
def test_no_bytes_are_worse_than_a_bad_request(data: bytes) -> None:
    for read in (lambda: read_shard(GOOD[:48] + data), lambda: Unpacker().feed(data)):
        with suppress(BadRequest):
            read()


LENGTHS = [10, 20, 30, 40, 50]


def test_where_chunks_are_is_kept_in_few_bytes() -> None:
    hashes = [bytes([number]) * 32 for number in range(5)]
    chunks = Chunks(LENGTHS, hashes=hashes).having([Span(1, 3, ONE, 7)]).having([Span(4, 5, TWO, 2**40)])
    again = Chunks.unpack(chunks.pack())
    assert (list(again.lengths), again.spans, again.hashes) == (LENGTHS, chunks.spans, hashes)
    without = chunks.pack(with_hashes=False)
    assert len(without) == 8 + 4 * 5 + 2 * 48
    assert Chunks.unpack(without) == Chunks(tuple(LENGTHS), chunks.spans, [])


def test_spans_that_continue_each_other_are_one() -> None:
    chunks = Chunks(LENGTHS).having([Span(0, 2, ONE, 0), Span(3, 5, ONE, 60)]).having([Span(2, 3, ONE, 30)])
    assert chunks.spans == (Span(0, 5, ONE, 0),)
    assert chunks.complete


def test_what_is_known_of_a_chunk_stays() -> None:
    chunks = Chunks(LENGTHS).having([Span(1, 3, ONE, 0), Span(0, 5, TWO, 1000)])
    assert chunks.spans == (Span(0, 1, TWO, 1000), Span(1, 3, ONE, 0), Span(3, 5, TWO, 1060))


def test_a_range_is_covered_when_all_of_its_chunks_are_known() -> None:
    chunks = Chunks(LENGTHS).having([Span(1, 3, ONE, 0)])
    assert chunks.covers(1, 3)
    assert not chunks.covers(1, 4)
    assert not chunks.complete
    assert list(chunks.missing()) == [0, 3, 4]


@given(st.data())
def test_every_chunk_is_found_where_it_was_put(data: st.DataObject) -> None:
    """Against a plain list of where each chunk is."""
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=12))
    starts = list(accumulate(lengths, initial=0))
    chunks, plain = Chunks(lengths), [None] * len(lengths)
    for blob in data.draw(st.lists(st.sampled_from([ONE, TWO]), max_size=6)):
        first = data.draw(st.integers(0, len(lengths) - 1))
        last = data.draw(st.integers(first + 1, len(lengths)))
        offset = data.draw(st.integers(0, 100))
        chunks = Chunks.unpack(chunks.having([Span(first, last, blob, offset)]).pack())
        for at in range(first, last):
            plain[at] = plain[at] or (blob, offset + starts[at] - starts[first])  # type: ignore[call-overload]
    for at, known in enumerate(plain):
        found = [(span.sha256, span.offset) for span in chunks.within(at, at + 1)]
        assert found == ([known] if known else [])
    assert chunks.complete == all(plain)
