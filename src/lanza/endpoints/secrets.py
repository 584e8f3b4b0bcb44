"""An endpoint's secrets: encrypted while they are kept, and never shown.

The model: a key of its own is derived from the server's key; each set of secrets is one AES-256-GCM message,
bound to its endpoint and revision, so that rows cannot be exchanged. They are opened for one thing only, the
environment of a replica.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from lanza.endpoints.spec import EndpointSpec
from lanza.errors import Unavailable

_NONCE: Final = 12


class Vault:
    """Seals and opens with a key that is derived from `key`, the server's."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"lanza endpoint secrets").derive(key)
        self._cipher = AESGCM(derived)

    def __repr__(self) -> str:
        return "Vault(...)"

    def seal(self, secrets: Mapping[str, str], *, place: str) -> bytes | None:
        """The secrets as bytes that only `open` with the same `place` understands; None for no secrets."""
        if not secrets:
            return None
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, json.dumps(dict(secrets)).encode(), place.encode())

    def open(self, sealed: bytes | None, *, place: str) -> dict[str, str]:
        """What was sealed. Unavailable when the key is another."""
        from cryptography.exceptions import InvalidTag

        if sealed is None:
            return {}
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode())
        except InvalidTag:
            raise Unavailable(
                f"the secrets of {place} cannot be read with this key: restore secret.key, or set them anew."
            ) from None
        found: dict[str, str] = json.loads(plain)
        return found


def taken_out(spec: EndpointSpec) -> tuple[EndpointSpec, dict[str, str | None]]:
    """The spec with the names of its secrets only, and their values; None: as before.

    The password of an image's registry goes altogether: nothing here fetches images.
    """
    values = dict(spec.model.secrets)
    image = {kind: _without_credentials(one) for kind, one in spec.model.image.items()}
    model = replace(spec.model, secrets=dict.fromkeys(values), image=image)
    return replace(spec, model=model), values


def _without_credentials(image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in image.items() if name != "credentials"}
