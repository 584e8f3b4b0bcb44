"""What routes of endpoints are given: the control of them, who calls, the server's address, a tree."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from lanza.auth.api.dependencies import CallerDep, TrailDep, json_body
from lanza.endpoints import wire
from lanza.endpoints.control import Control, View

__all__ = ["CallerDep", "ControlDep", "RehearseDep", "ServerDep", "TrailDep", "TreeDep", "answer"]

TOPIC: Final = "lanza-rehearsal"
"""Clients show the first warning of each topic."""


async def _control(request: Request) -> Control:
    found: Control = request.app.state.control
    return found


async def _server(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


async def _rehearse(
    request: Request,
    rehearse: Annotated[bool, Query(description="Run on this machine what is meant for elsewhere.")] = False,
) -> bool:
    return rehearse or request.headers.get("x-lanza-rehearse", "") in ("1", "true")


ControlDep = Annotated[Control, Depends(_control)]
ServerDep = Annotated[str, Depends(_server)]
RehearseDep = Annotated[bool, Depends(_rehearse)]
TreeDep = Annotated[dict[str, Any], json_body(dict[str, Any])]


def answer(view: View, server: str, status: int = 200) -> JSONResponse:
    """An endpoint; the client prints what it should be warned of."""
    warning = view.revision.warning
    headers = {"X-HF-Warning": f"{TOPIC}; {_printable(warning)}"} if warning else {}
    return JSONResponse(wire.described(view, server), status, headers)


def _printable(text: str) -> str:
    """`text` as a header can hold it."""
    return text.encode("ascii", "replace").decode()
