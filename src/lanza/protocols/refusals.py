"""Errors as the bodies of answers, in each protocol's form. It knows no task: who passes on may use it."""

from __future__ import annotations

import re

import msgspec
import orjson

from lanza.errors import LanzaError, Overloaded


def huggingface(error: LanzaError, request_id: str) -> bytes:
    """`{"error", "code", "request_id"}`."""
    return orjson.dumps({"error": error.message, "code": error.code, "request_id": request_id})


def openai(error: LanzaError, request_id: str = "") -> bytes:
    """The body of an error, and the data of an error in a stream."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    if isinstance(error, Overloaded):
        kind = "rate_limit_error"
    named = re.match(r"`([\w.]+)`", error.message)
    body = {
        "message": error.message,
        "type": kind,
        "param": named[1] if named else None,
        "code": error.code,
    }
    return msgspec.json.encode({"error": body | ({"request_id": request_id} if request_id else {})})
