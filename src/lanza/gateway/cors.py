"""Pages of other sites: which of them may call an endpoint from a browser, and how the browser is told.

A page of this very address may. Any other must be named by the endpoint; if it is not, it is refused here,
for a browser only hides the answer of what it has already sent.

A page in a sandbox has the origin `null`, whoever's it is: an endpoint's own `/docs` here, or one that any
site has put into a frame. It may call with a token that it sends by itself, which is proof enough; without
one it is a page of another site.
"""

from __future__ import annotations

from typing import Final

from lanza.errors import Forbidden
from lanza.gateway.targets import Target

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED: Final = b"X-Request-Id, X-Lanza-Cache, X-Lanza-Engine, Retry-After"
MAX_AGE: Final = b"600"
SANDBOXED: Final = "null"

Headers = list[tuple[bytes, bytes]]


def allowed(target: Target, origin: bytes, host: bytes, *, proven: bool) -> Headers:
    """The headers of answers to a page of `origin`. Forbidden when it may not call.

    `proven`: it sends a token, and that is somebody's.
    """
    text = origin.decode("latin-1").lower()
    if "*" in target.cors:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
    if text in target.cors or (text == SANDBOXED and proven):
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"Origin"),
        ]
    if text.partition("://")[2] == host.decode("latin-1").lower():
        return []
    if text == SANDBOXED:
        raise Forbidden(f"a page in a sandbox may call {target.label} with a token only: send one as Bearer.")
    raise Forbidden(f"pages of {text} may not call {target.label}: its owner can name them in `cors`.")


def preflight(target: Target, origin: bytes, host: bytes, asked_headers: bytes) -> Headers:
    """The answer to a browser that asks before it sends. Forbidden."""
    return [
        *allowed(target, origin, host, proven=b"authorization" in asked_headers.lower()),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", asked_headers or b"authorization, content-type"),
        (b"access-control-max-age", MAX_AGE),
    ]
