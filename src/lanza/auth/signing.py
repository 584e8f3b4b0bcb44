"""Short-lived proofs that this server has said something: for URLs and tokens that need no database.

The model: claims, a purpose and an expiry under an HMAC-SHA256, as text that a URL can hold. What was signed
for one purpose is worth nothing for another. Claims are signed, not hidden: put no secret in them. Nothing
signed can be taken back before it expires, so keep it short.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lanza.errors import Unauthorized, UsageError

KEY_BYTES: Final = 32
LONGEST: Final = 8192
"""Characters of a token beyond which it is not looked at."""

_BAD: Final = "this link or token is none of this server's: ask for a new one where it came from."


class Signer:
    """Signs with `key`. `clock` gives seconds since 1970."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        if len(key) < KEY_BYTES:
            raise ValueError(f"a key has at least {KEY_BYTES} bytes")
        self._key = key
        self._clock = clock

    def __repr__(self) -> str:
        return "Signer(...)"

    def sign(self, purpose: str, claims: Mapping[str, Any], *, seconds: int) -> str:
        """`claims`, which are JSON, good for `purpose` during the next `seconds`. Letters, digits, `-_.`."""
        until = int(self._clock()) + seconds
        payload = json.dumps({"until": until, "claims": dict(claims)}, separators=(",", ":")).encode()
        return f"{_packed(payload)}.{_packed(self._mac(purpose, payload))}"

    def verify(self, purpose: str, token: str) -> dict[str, Any]:
        """The claims. Unauthorized when `token` is not ours, was signed for something else, or is too old."""
        payload_text, _, mac_text = token.partition(".")
        if len(token) > LONGEST:
            raise Unauthorized(_BAD)
        try:
            payload, mac = _unpacked(payload_text), _unpacked(mac_text)
        except (binascii.Error, ValueError):
            raise Unauthorized(_BAD) from None
        if not hmac.compare_digest(mac, self._mac(purpose, payload)):
            raise Unauthorized(_BAD)
        said = json.loads(payload)
        if self._clock() >= said["until"]:
            raise Unauthorized("this link or token has expired: ask for a new one where it came from.")
        claims: dict[str, Any] = said["claims"]
        return claims

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        signed = len(purpose.encode()).to_bytes(4, "big") + purpose.encode() + payload
        return hmac.digest(self._key, signed, hashlib.sha256)


def load_key(path: Path) -> bytes:
    """The key in `path`, made there at first, for its owner's eyes only. UsageError when it is damaged."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return _make_key(path)
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{path} is damaged: it has {len(key)} bytes and not {KEY_BYTES}. Restore it from a backup, or "
            "remove it and start again: links and uploads that are under way must then begin anew."
        )
    return key


def _make_key(path: Path) -> bytes:
    """Written aside and linked: a crash leaves no half a key, and of two processes both use the first's."""
    key = secrets.token_bytes(KEY_BYTES)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return load_key(path)
    finally:
        aside.unlink(missing_ok=True)
    return key


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    """Only what `_packed` gives: one text for each value, so that a token cannot be written in two ways."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _packed(data) != text:
        raise ValueError("not canonical")
    return data
