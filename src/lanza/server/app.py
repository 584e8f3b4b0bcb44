"""The whole application: every route of the Hub, the pages for people, health; the edge around them all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from lanza import __version__
from lanza.auth import api as auth
from lanza.auth.guard import Guard
from lanza.auth.tokens import Authenticator
from lanza.endpoints import api as endpoints_api
from lanza.endpoints.platform import Platform
from lanza.errors import EngineFailed, LanzaError, NotFound
from lanza.hub import catalog, pages
from lanza.hub.api import (
    commit,
    gating,
    git_http,
    lfs,
    listing,
    policy,
    preupload,
    refs,
    repos,
    resolve,
    tree,
    usage,
    xet,
)
from lanza.hub.api.dependencies import HubDep
from lanza.hub.downloads import Downloads
from lanza.hub.hub import Hub
from lanza.hub.repos import leaving
from lanza.server.edge import Edge
from lanza.server.endpoints import Endpoints
from lanza.server.folder import DataFolder
from lanza.server.refusals import answer_to, as_error
from lanza.server.settings import ServerSettings
from lanza.server.upkeep import Upkeep

health: Final = APIRouter(include_in_schema=False)
nowhere: Final = APIRouter(include_in_schema=False)

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

# In this order: fixed addresses first, then what begins with a repository's name, then pages.
ROUTERS: Final = (
    health,
    auth.router,
    endpoints_api.router,
    listing.router,
    policy.router,
    usage.router,
    repos.router,
    refs.router,
    gating.router,
    preupload.router,
    commit.router,
    tree.router,
    lfs.router,
    xet.router,
    git_http.router,
    resolve.router,
    nowhere,
    pages.router,
)


def application(hub: Hub, settings: ServerSettings, platforms: Mapping[str, Platform]) -> ASGIApp:
    """The server over `hub`, with endpoints on `platforms`. Its lifespan closes what the Hub has open."""
    authenticator = Authenticator(hub.database)
    inner = FastAPI(
        title="Lanza",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Exception: _refuse,
            HTTPException: _refuse,
            LanzaError: _refuse,
            RequestValidationError: _refuse,
        },
    )
    inner.state.hub = hub
    inner.state.endpoints = Endpoints(hub, settings, platforms)
    inner.state.control = inner.state.endpoints.control
    inner.state.database = hub.database
    inner.state.signer = hub.signer
    inner.state.authenticator = authenticator
    inner.state.guard = Guard(time.monotonic)
    inner.state.leaving = partial(leaving, hub)
    inner.state.upkeep = Upkeep(hub, DataFolder(path=settings.data), every=settings.collect_every)
    inner.state.downloads = Downloads(hub.database)
    for router in ROUTERS:
        inner.include_router(router)
    return Edge(
        _with_upstream(inner, hub, settings),
        authenticate=authenticator.principal,
        proxies=settings.proxies,
    )


def _with_upstream(app: ASGIApp, hub: Hub, settings: ServerSettings) -> ASGIApp:
    if settings.upstream is None:
        return app
    from lanza.hub.upstream import ReadThrough, Upstream

    upstream = Upstream(settings.upstream, cache=settings.data / "upstream")
    return ReadThrough(app, hub=hub, upstream=upstream)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(catalog.repair, app.state.hub)
    app.state.upkeep.start()
    async with app.state.endpoints.running():
        yield
    await run_in_threadpool(app.state.upkeep.stop)
    await run_in_threadpool(app.state.downloads.write)
    await run_in_threadpool(app.state.database.close)


async def _refuse(request: Request, raised: Exception) -> Response:
    error = as_error(raised)
    if error is None:  # the edge logs it by its id
        request_id = request.state.request_id
        error = EngineFailed(f"something failed here; the server's log has it by {request_id}.")
    response = answer_to(error, request.scope)
    if isinstance(raised, HTTPException):
        response.status_code = raised.status_code
        response.headers.update(raised.headers or {})
    return response


@health.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@health.api_route("/readyz", methods=["GET", "HEAD"])
def readyz(hub: HubDep) -> Response:
    """The database answers too, so that requests may be sent here."""
    with hub.database.reading() as session:
        session.execute(text("SELECT 1"))
    return JSONResponse({"status": "ready"})


@nowhere.api_route("/api/{rest:path}", methods=METHODS)
@nowhere.api_route("/cas/{rest:path}", methods=METHODS)
@nowhere.api_route("/oauth/{rest:path}", methods=METHODS)
@nowhere.api_route("/v2/{rest:path}", methods=METHODS)
async def nothing() -> Response:
    """Below `/api` and its like there are no repositories, whose pages come next."""
    raise NotFound("there is nothing at this address.")
