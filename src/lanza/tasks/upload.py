"""Media in a request: raw bytes as the body itself, or base64 in a JSON body.

One rule for images and audio alike. Nothing is decoded into pixels or samples here (`image.py`, `audio.py`),
and nothing is ever fetched: an address in place of the data is refused.
"""

from __future__ import annotations

import binascii
from typing import Annotated, Any

import msgspec

from lanza.errors import BadRequest

Upload = Annotated[
    Any,
    msgspec.Meta(
        description="The file's bytes in base64, or a data: URL.",
        extra_json_schema={"type": "string", "contentEncoding": "base64"},
    ),
]
"""A JSON string, or bytes when the body was the file itself. Not typed `bytes`, so that `read_upload` can say
more of a wrong one (an address, a data: URL without base64) than that it is no base64."""


def read_upload(value: Any, *, kind: str, what: str = "inputs") -> bytes:
    """The bytes of an upload. `kind` ("an image") and `what` (the field) are for the messages."""
    data = value if isinstance(value, bytes) else _decode(value, kind=kind, what=what)
    if not data:
        raise BadRequest(f"`{what}` is empty: send the bytes of {kind}.")
    return data


def _decode(value: Any, *, kind: str, what: str) -> bytes:
    if not isinstance(value, str):
        raise BadRequest(f"`{what}` must be a string: the bytes of {kind} in base64.")
    text = value.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        raise BadRequest(
            f"`{what}` is an address, and this server fetches nothing: send the bytes of {kind}, "
            "as the body itself or in base64."
        )
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise BadRequest(f"`{what}` is a data: URL without base64: write data:TYPE;base64,DATA.")
    try:
        # Line breaks are common in what `base64` prints, and are no damage.
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"`{what}` is not base64 ({error}): send the bytes of {kind}, as the body itself or in base64."
        ) from error
