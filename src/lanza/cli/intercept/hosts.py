"""The hosts that are answered for, and where on the server each of their addresses is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SAME: Final = ""
"""Paths on the host are the paths on the server."""

HOSTS: Final[Mapping[str, str]] = {
    "api.endpoints.huggingface.cloud": SAME,
    "api-inference.huggingface.co": SAME,
    "endpoints.huggingface.co": SAME,
    "router.huggingface.co": SAME,
    "api.replicate.com": "/replicate",
}
"""Host to what comes before its paths on the server."""

_PROVIDER: Final = re.compile(r"^/hf-inference(?=/|$)")


def path_here(host: str, path: str) -> str:
    """Where on the server `https://HOST/PATH` is answered. `path` begins with a slash; a query may follow."""
    if host == "router.huggingface.co":
        path = _PROVIDER.sub("", path, count=1) or "/"
    return HOSTS[host] + path
