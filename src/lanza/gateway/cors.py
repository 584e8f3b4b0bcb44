"""Pages of other sites: which of them may call an endpoint from a browser, and how the browser is told.

A page of this very address may. Any other must be named by the endpoint; if it is not, it is refused here,
for a browser only hides the answer of what it has already sent.
"""

from __future__ import annotations

from typing import Final

from lanza.errors import Forbidden
from lanza.gateway.targets import Target

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED: Final = b"X-Request-Id, X-Lanza-Cache, X-Lanza-Engine, Retry-After"
MAX_AGE: Final = b"600"

Headers = list[tuple[bytes, bytes]]


def allowed(target: Target, origin: bytes, host: bytes) -> Headers:
    """The headers of answers to a page of `origin`. Forbidden when it may not call."""
    text = origin.decode("latin-1").lower()
    if "*" in target.cors:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
    if text in target.cors:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"Origin"),
        ]
    if text.partition("://")[2] == host.decode("latin-1").lower():
        return []
    raise Forbidden(f"pages of {text} may not call {target.label}: its owner can name them in `cors`.")


def preflight(target: Target, origin: bytes, host: bytes, asked_headers: bytes) -> Headers:
    """The answer to a browser that asks before it sends. Forbidden."""
    return [
        *allowed(target, origin, host),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", asked_headers or b"authorization, content-type"),
        (b"access-control-max-age", MAX_AGE),
    ]
