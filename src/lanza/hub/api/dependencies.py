"""What routes are given: the Hub, who calls, the repository that the URL names, a body of bounded size.

A route names what it needs in its signature: `def tree(hub: HubDep, caller: CallerDep, name: NameDep, ...)`.
The dependencies are async because they wait for nothing: FastAPI runs others on threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends
from starlette.requests import Request

from lanza.auth.api.dependencies import decoded
from lanza.auth.principal import Principal
from lanza.errors import PayloadTooLarge
from lanza.hub.api.paths import plain, server_of
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName, parse_repo

T = TypeVar("T")


def hub(request: Request) -> Hub:
    found: Hub = request.app.state.hub
    return found


def caller(request: Request) -> Principal:
    found: Principal = request.state.principal
    return found


def origin(request: Request) -> str:
    """`http://host:port`, as the client wrote it."""
    return server_of(request)


def repo_name(request: Request) -> RepoName:
    """The repository in the URL, from its parameters `plural` and `repo`."""
    return parse_repo(request.path_params["plural"], plain(request.path_params["repo"]))


def _instant(read: Callable[[Request], T]) -> Callable[[Request], Awaitable[T]]:
    async def at_once(request: Request) -> T:
        return read(request)

    return at_once


HubDep = Annotated[Hub, Depends(_instant(hub))]
CallerDep = Annotated[Principal, Depends(_instant(caller))]
OriginDep = Annotated[str, Depends(_instant(origin))]
NameDep = Annotated[RepoName, Depends(_instant(repo_name))]


async def read_body(request: Request, most: int) -> bytes:
    """The whole body. PayloadTooLarge, without reading on, when it has more than `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise PayloadTooLarge(f"this body may have at most {most:,} bytes: send less at a time.")
    return bytes(body)


def json_body(kind: type[Any], most: int = 2**20) -> Any:
    """A dependency that reads the body as the msgspec type `kind`. BadRequest says which field is wrong.

    The reader tells its type as `body`, for the documentation.

    Use: `wanted: Annotated[Wanted, json_body(Wanted)]`.
    """
    decoder = msgspec.json.Decoder(kind)

    async def read(request: Request) -> Any:
        return decoded(decoder, await read_body(request, most))

    read.body = kind  # type: ignore[attr-defined]
    return Depends(read)
