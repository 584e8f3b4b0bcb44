"""What handlers are given, and what is made of what they return."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import io
import json
import uuid
from collections import OrderedDict, UserDict, namedtuple
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from lanza.engines.handler.child.values import BadInput, decode_data, encode_answer, encode_event, encode_json

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Box:
    name: str
    corner: Any


class Kind(enum.Enum):
    GOOD = "good"


class Colour(enum.IntEnum):
    RED = 3


def png(mode: str = "RGB", size: tuple[int, int] = (3, 2)) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.new(mode, size).save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"a": (1, 2.5, True)}, {"a": [1, 2.5, True]}),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array("hola"), "hola"),
        ({np.int64(3): "x", 2: "y", None: 1, True: 0}, {"3": "x", "2": "y", "null": 1, "true": 0}),
        ([float("nan"), float("inf"), -1.0], [None, None, -1.0]),
        (np.array([1.0, np.nan]), [1.0, None]),
        (Box("b", np.float64(2.0)), {"name": "b", "corner": 2.0}),
        (Box("b", Point(1, float("nan"))), {"name": "b", "corner": [1, None]}),
        (b"\x00\xff", "AP8="),
        ([bytearray(b"a"), memoryview(b"b")], ["YQ==", "Yg=="]),
        (Kind.GOOD, "good"),
        ({Kind.GOOD: Colour.RED}, {"good": 3}),
        ({1}, [1]),
        (UserDict(a=1), {"a": 1}),
        (OrderedDict(b=1), {"b": 1}),
        (datetime.date(2026, 3, 3), "2026-03-03"),
        (decimal.Decimal("1.20"), "1.20"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (PurePosixPath("/a"), "/a"),
        ("ñ é 😀", "ñ é 😀"),
        (10**30, 10**30),
    ],
)
def test_json_of(value: Any, expected: Any) -> None:
    assert json.loads(encode_json(value)) == expected


def test_half_a_surrogate_pair_is_still_utf8() -> None:
    assert encode_json("a\ud800") == b'"a\\ud800"'


def test_tensors_become_lists() -> None:
    torch = pytest.importorskip("torch")
    value = {"logits": torch.ones(2, dtype=torch.bfloat16, requires_grad=True), "n": torch.tensor(3)}
    assert json.loads(encode_json(value)) == {"logits": [1.0, 1.0], "n": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, object()]}, r"answer\['a'\]\[1\] holds a builtins\.object"),
        ({(1, 2): 3}, "key of type tuple"),
        (Box, "no JSON form"),
        (open, "no JSON form"),
    ],
)
def test_what_has_no_json_says_where_it_is(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        encode_json(value)


def test_what_holds_itself_is_an_error_and_no_crash() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="holds itself"):
        encode_json(value)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("image/webp;q=0.9, */*", "image/webp"),
        ("text/html, image/avif, image/jpeg", "image/jpeg"),
        ("*/*", "application/json"),
        ("application/json, image/png", "application/json"),
        ("", "application/json"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "F"])
def test_an_image_is_raw_for_who_accepts_it(accept: str, content_type: str, mode: str) -> None:
    from PIL import Image

    kind, body = encode_answer(Image.new(mode, (3, 2)), accept)
    assert kind == content_type
    if kind == "application/json":
        body = base64.b64decode(json.loads(body))
    assert Image.open(io.BytesIO(body)).size == (3, 2)


def test_bytes_are_raw_for_who_accepts_them() -> None:
    assert encode_answer(b"RIFF", "audio/wav") == ("audio/wav", b"RIFF")
    assert encode_answer(b"RIFF", "audio/*") == ("application/octet-stream", b"RIFF")
    assert encode_answer(b"RIFF", "*/*") == ("application/json", b'"UklGRg=="')


def test_an_event_is_one_line_whatever_it_says() -> None:
    assert encode_event({"text": "a\n\nb"}) == b'data: {"text":"a\\n\\nb"}\n\n'


def test_bodies_by_their_type() -> None:
    assert decode_data(b'{"inputs": 1}', "application/json; charset=utf-8") == {"inputs": 1}
    assert decode_data("año".encode(), "text/plain") == {"inputs": "año"}
    assert decode_data(b"RIFF", "audio/wav") == {"inputs": b"RIFF"}
    assert decode_data(png(), "image/png")["inputs"].size == (3, 2)


@pytest.mark.parametrize("body", [b"", b"no image", png()[:40], png()[:-25]])
def test_a_broken_image_is_the_callers_fault(body: bytes) -> None:
    with pytest.raises(BadInput, match="no image that can be read"):
        decode_data(body, "image/png")


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BadInput, match="no image that can be read"):
        decode_data(png(size=(20, 20)), "image/png")


def test_text_that_is_not_utf8_is_the_callers_fault() -> None:
    with pytest.raises(BadInput, match="not UTF-8 text \\(byte 1\\)"):
        decode_data(b"a\xff", "text/plain")
