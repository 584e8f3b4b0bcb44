"""Between the bytes of a request or an answer and the values that a handler works with.

In: a JSON object; or for a body of another kind `{"inputs": ...}` with an image (when PIL is installed), a
text, or bytes. Out: JSON, in which arrays and tensors become lists, dataclasses objects, bytes and images
base64; NaN and the infinities, for which JSON has no word, become null. One image or bytes alone are sent raw
to a caller who accepts their kind.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import decimal
import enum
import json
import math
import sys
import uuid
from collections.abc import Callable, Mapping, Set
from io import BytesIO
from pathlib import PurePath
from typing import Any, Final

JSON: Final = "application/json"
IMAGE_FORMATS: Final = {
    "image/png": "PNG",
    "image/*": "PNG",
    "image/jpeg": "JPEG",
    "image/jpg": "JPEG",
    "image/webp": "WEBP",
}
_PNG_MODES: Final = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


class BadInput(ValueError):
    """The request cannot be read; the handler was not called."""


def decode_data(body: bytes, content_type: str) -> dict[str, Any]:
    """What the handler is called with."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        data: dict[str, Any] = json.loads(body)
        return data
    if kind.startswith("image/"):
        return {"inputs": _image(body)}
    if kind.startswith("text/"):
        return {"inputs": _text(body)}
    return {"inputs": body}


def encode_answer(value: Any, accept: str) -> tuple[str, bytes]:
    """Content type and bytes of a whole answer."""
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if _is_image(value):
        for kind in wanted:
            if kind in (JSON, "*/*"):
                break
            if kind in IMAGE_FORMATS:
                return _content_type(kind), _picture(value, IMAGE_FORMATS[kind])
    if isinstance(value, bytes | bytearray | memoryview):
        for kind in wanted:
            if kind.startswith(("image/", "audio/", "video/")) or kind == "application/octet-stream":
                return kind if "*" not in kind else "application/octet-stream", bytes(value)
    return JSON, encode_json(value)


def encode_event(value: Any) -> bytes:
    """One yielded value as a server-sent event."""
    return b"data: " + encode_json(value) + b"\n\n"


def encode_json(value: Any) -> bytes:
    """Raises TypeError that says where in the answer the value is which JSON cannot hold."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return _dumps(value)
    # something rare: NaN, a key that is no text, a type that has no form. The slow walk knows its place.
    try:
        return _dumps(_plain(value, "answer"))
    except RecursionError:
        raise TypeError("the answer is nested too deep for JSON, or holds itself") from None


def _dumps(value: Any) -> bytes:
    text = json.dumps(value, allow_nan=False, default=_convert, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair is not UTF-8, its escape is JSON


def _plain(value: Any, where: str) -> Any:
    """The same value made of what JSON has; `where` is the path to it, for the error."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    return _plain(_convert(value, where), where)


def _key(key: Any, where: str) -> str:
    item = getattr(key, "item", None)
    key = item() if callable(item) else key
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, bool) or key is None:
        return json.dumps(key)
    if isinstance(key, str | int | float | datetime.date | uuid.UUID):
        return str(key)
    raise TypeError(f"{where} has a key of type {type(key).__name__}, and keys of JSON are strings")


def _convert(value: Any, where: str = "answer") -> Any:
    """One step towards JSON for a value that it has no form for."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    if _is_image(value):
        return _base64(_picture(value, "PNG"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for name in ("tolist", "model_dump"):  # numpy, torch and their like; pydantic
        method: Callable[[], Any] | None = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            return method()
    raise TypeError(
        f"{where} holds a {type(value).__module__}.{type(value).__qualname__}, which has no JSON form: "
        "return numbers, strings, lists, dictionaries, arrays, bytes, images or dataclasses"
    )


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (Mapping, dict),
    ((bytes, bytearray, memoryview), _base64),
    (enum.Enum, lambda value: value.value),
    (Set, list),
    ((datetime.date, datetime.time), lambda value: value.isoformat()),
    ((uuid.UUID, PurePath, decimal.Decimal), str),
)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"the body is not UTF-8 text (byte {error.start}): send it as UTF-8.") from error


def _image(body: bytes) -> Any:
    try:
        from PIL import Image
    except ImportError:
        return body
    try:
        image = Image.open(BytesIO(body))
        image.load()
    # PIL raises these, by format and by damage; a bomb is its own error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"the body is no image that can be read ({error}): send a whole PNG or JPEG."
        ) from error
    return image


def _is_image(value: Any) -> bool:
    # whoever returns an image has imported PIL, and nobody else should pay for it
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def _picture(image: Any, form: str) -> bytes:
    modes = {"JPEG": ("L", "RGB"), "PNG": _PNG_MODES}.get(form, ("RGB", "RGBA"))
    if image.mode not in modes:
        image = image.convert("RGB")
    target = BytesIO()
    image.save(target, format=form)
    return target.getvalue()


def _content_type(kind: str) -> str:
    return {"image/*": "image/png", "image/jpg": "image/jpeg"}.get(kind, kind)
