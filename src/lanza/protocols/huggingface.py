"""The wire of `InferenceClient` and of the classic inference API: bodies to typed inputs, answers to JSON.

A body is JSON, or for image and audio tasks the raw bytes of the file (clients send those without a
Content-Type, so the bytes themselves decide). Errors are `{"error", "code", "request_id"}`. Nothing here
knows of sockets or models.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
import numpy as np
import orjson

from lanza.errors import BadRequest, UnsupportedMedia
from lanza.protocols import refusals
from lanza.tasks.base import Media, Task

JSON = "application/json"


@lru_cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Building a decoder costs more than most decodings, so each is built once."""
    return msgspec.json.Decoder(kind)


def decode(task: Task, body: bytes, content_type: str = "") -> Any:
    """The typed body of a request for `task`.

    Raises BadRequest (not JSON, fields missing, unknown or of the wrong type, nested too deep) and
    UnsupportedMedia (a text task that is sent a file).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        raise BadRequest(f"the body is empty: send {_example(task)}")
    if _is_raw(task, body, kind):
        return task.body(inputs=body)  # type: ignore[call-arg]
    if kind.startswith(("image/", "audio/", "video/", "multipart/")):
        raise UnsupportedMedia(f"{task.name} takes JSON, not {kind}: send {_example(task)}")
    return decode_json(body, task.body, hint=f"send {_example(task)}")


def _is_raw(task: Task, body: bytes, kind: str) -> bool:
    """Whether `body` is the file itself: said by its type, else by not looking like a JSON object."""
    if task.media is Media.TEXT or kind == JSON:
        return False
    if kind.startswith("multipart/"):
        raise UnsupportedMedia(
            "multipart forms are not read: send the file's bytes as the body, or its base64 as `inputs`."
        )
    return body.lstrip()[:1] != b"{"


def decode_json(body: bytes, kind: Any, *, hint: str) -> Any:
    """`body` as the type `kind`; whatever is wrong with it becomes a BadRequest that ends in `hint`."""
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{_plain(error, kind)}: {hint}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid JSON ({error}): {hint}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deep to be read.") from None


def _plain(error: msgspec.ValidationError, kind: Any) -> str:
    """msgspec's message with the place first, as users name it: `inputs.question`: expected `str`..."""
    text, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    if "unknown field" in text and (known := _fields(kind, place)):
        text = f"{text}; there are {', '.join(known)}"
    return f"`{place}`: {text}" if place else text


def _fields(kind: Any, place: str) -> list[str]:
    """The names that the object at `place` in a `kind` may have; none when there is no single answer."""
    kinds = [kind]
    for name in filter(None, place.replace("[...]", "").split(".")):
        inside = [f.type for k in kinds if _is_struct(k) for f in msgspec.structs.fields(k) if f.name == name]
        kinds = [part for each in inside for part in get_args(each) or [each]]
    structs = [each for each in kinds if _is_struct(each)]
    return [f.encode_name for f in msgspec.structs.fields(structs[0])] if len(structs) == 1 else []


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _example(task: Task) -> str:
    if task.media is Media.IMAGE and "question" not in task.name:
        return "an image file as the body, or JSON with its base64 as `inputs`."
    if task.media is Media.AUDIO:
        return "an audio file as the body, or JSON with its base64 as `inputs`."
    return f"JSON like {orjson.dumps(task.example).decode()}"


def encode(answer: Any) -> bytes:
    """An answer (structs, lists, numpy arrays) as JSON; a number that is not finite becomes null."""
    return orjson.dumps(answer, default=_default, option=orjson.OPT_SERIALIZE_NUMPY)


def _default(value: Any) -> Any:
    if isinstance(value, np.ndarray):  # orjson takes contiguous arrays only
        return np.ascontiguousarray(value)
    return msgspec.to_builtins(value)


encode_error: Final = refusals.huggingface
