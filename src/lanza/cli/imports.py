"""Waiting for an import that the server makes."""

from __future__ import annotations

import time
from typing import Any, Final

from lanza.cli.bar import bar
from lanza.cli.context import Context

LOOK_SECONDS: Final = 0.5


def brought(chosen: Context, wanted: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Have the server import what is `wanted`, and wait for it. BadRequest says why it failed.

    Who stops waiting stops nothing: the server goes on.
    """
    from lanza.cli.api import call
    from lanza.errors import BadRequest

    found: dict[str, Any] = call(chosen, "POST", "/api/lanza/imports", wanted)
    known = 0
    with bar(f"Importing {wanted['repo']}", quiet=quiet) as come:
        while found["state"] == "running":
            time.sleep(LOOK_SECONDS)
            found = call(chosen, "GET", f"/api/lanza/imports/{found['id']}")
            come(found["bytes_done"] - known)
            known = found["bytes_done"]
    if found["state"] == "failed":
        raise BadRequest(found["error"])
    return found
