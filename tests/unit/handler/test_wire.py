"""Frames come out as they went in, however the bytes are cut."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.engines.handler.child.wire import MAX_BODY, BrokenFrame, FrameDecoder, encode_frame

FRAMES = st.lists(
    st.tuples(st.dictionaries(st.text(), st.integers() | st.text()), st.binary(max_size=300)), max_size=5
)


@given(frames=FRAMES, size=st.integers(1, 400))
def test_frames_survive_any_cut(frames: list[tuple[dict[str, object], bytes]], size: int) -> None:
    wire = b"".join(encode_frame(header, body) for header, body in frames)
    decoder = FrameDecoder()
    got = []
    for start in range(0, len(wire), size):
        got += [(json.loads(header), body) for header, body in decoder.feed(wire[start : start + size])]
    assert got == frames


def test_half_a_frame_is_no_frame() -> None:
    wire = encode_frame({"op": "call"}, b"abc")
    decoder = FrameDecoder()
    assert list(decoder.feed(wire[:-1])) == []
    assert len(list(decoder.feed(wire[-1:]))) == 1


@pytest.mark.parametrize("lengths", [(2**31, 0), (2, MAX_BODY + 1), (2, 2**63)])
def test_lengths_that_lie_are_refused_before_anything_is_kept(lengths: tuple[int, int]) -> None:
    with pytest.raises(BrokenFrame, match="over the limit"):
        list(FrameDecoder().feed(struct.pack("!IQ", *lengths)))
