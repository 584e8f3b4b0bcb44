"""The whole application: every route of the Hub, the pages for people, health; the edge around them all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from lanza import __version__
from lanza.auth import api as auth
from lanza.auth.api.dependencies import require_rules
from lanza.auth.guard import Guard
from lanza.auth.records import Account
from lanza.auth.tokens import Authenticator
from lanza.endpoints import api as endpoints_api
from lanza.endpoints import store
from lanza.endpoints.platform import Platform
from lanza.errors import EngineFailed, LanzaError, NotFound
from lanza.hub import catalog, pages
from lanza.hub.api import (
    commit,
    gating,
    git_http,
    imports,
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
from lanza.hub.api.dependencies import CallerDep, HubDep
from lanza.hub.downloads import Downloads
from lanza.hub.holdings import holdings
from lanza.hub.hub import Hub
from lanza.hub.repos import leaving
from lanza.hub.upstream import Imports, ReadThrough, Upstream
from lanza.server import documentation
from lanza.server.colleagues import Colleagues
from lanza.server.documentation import DESCRIPTION, Documented
from lanza.server.edge import Edge
from lanza.server.endpoints import Endpoints
from lanza.server.folder import DataFolder
from lanza.server.importer import Importer
from lanza.server.metrics import CONTENT_TYPE, Counted, Metrics
from lanza.server.refusals import AWAY, answer_to, as_error
from lanza.server.settings import ServerSettings
from lanza.server.upkeep import Upkeep

health: Final = APIRouter(include_in_schema=False)
nowhere: Final = APIRouter(include_in_schema=False)

METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

# In this order: fixed addresses first, then what begins with a repository's name, then pages.
TAGGED: Final[Sequence[tuple[str, APIRouter]]] = (
    ("health", health),
    ("documentation", documentation.router),
    ("accounts and tokens", auth.router),
    ("endpoints", endpoints_api.router),
    ("lists", listing.router),
    ("administration", policy.router),
    ("administration", usage.router),
    ("administration", imports.router),
    ("repositories", repos.router),
    ("branches and tags", refs.router),
    ("access to gated repositories", gating.router),
    ("commits", preupload.router),
    ("commits", commit.router),
    ("files", tree.router),
    ("large files", lfs.router),
    ("large files", xet.router),
    ("git", git_http.router),
    ("files", resolve.router),
    ("nothing", nowhere),
    ("pages", pages.router),
)
ROUTERS: Final = tuple(router for _, router in TAGGED)


def application(
    hub: Hub,
    settings: ServerSettings,
    platforms: Mapping[str, Platform],
    colleagues: Colleagues | None = None,
) -> ASGIApp:
    """The server over `hub`, with endpoints on `platforms`. Its lifespan closes what the Hub has open.

    `colleagues` are the other processes of the same server.
    """
    authenticator = Authenticator(hub.database)
    inner = Documented(
        title="Lanza",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Exception: _refuse,
            HTTPException: _refuse,
            LanzaError: _refuse,
            RequestValidationError: _refuse,
            **dict.fromkeys(AWAY, _refuse),
        },
    )
    inner.state.hub = hub
    upstream = _upstream(settings)
    importer = None if upstream is None else Importer(hub, upstream)
    endpoints = Endpoints(hub, settings, platforms, importer, colleagues) if settings.endpoints else None
    inner.state.endpoints = endpoints
    inner.state.database = hub.database
    inner.state.signer = hub.signer
    inner.state.authenticator = authenticator
    inner.state.guard = Guard(time.monotonic)
    inner.state.leaving = partial(_leaving, hub)
    inner.state.upkeep = Upkeep(hub, DataFolder(path=settings.data), every=settings.collect_every)
    inner.state.downloads = Downloads(hub.database)
    for tag, router in TAGGED:
        if endpoints is not None or router is not endpoints_api.router:
            inner.include_router(router, tags=[tag])
    registry = CollectorRegistry()
    inner.state.metrics = Metrics(
        registry,
        holdings=lambda: holdings(hub),
        replicas=dict if endpoints is None else endpoints.replicas,
    )
    inner.state.imports = Imports(hub, upstream)
    app = inner if upstream is None else ReadThrough(inner, hub=hub, upstream=upstream)
    edge = Edge(xet.WriteOnly(app), authenticate=authenticator.principal, proxies=settings.proxies)
    counted = Counted(edge, inner.state.metrics, proxies=settings.proxies)
    if endpoints is None:
        return counted
    inner.state.control = endpoints.control
    return endpoints.gateway(counted, authenticator, registry)


def _upstream(settings: ServerSettings) -> Upstream | None:
    if settings.upstream is None:
        return None
    return Upstream(settings.upstream, cache=settings.data / "upstream")


def _leaving(hub: Hub, session: Session, account: Account) -> Callable[[], None]:
    """What an account leaves behind. Conflict while it has endpoints."""
    store.check_leaving(session, account)
    return leaving(hub, session, account)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(catalog.repair, app.state.hub)
    app.state.upkeep.start()
    endpoints: Endpoints | None = app.state.endpoints
    async with nullcontext() if endpoints is None else endpoints.running():
        yield
    await app.state.imports.close()
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


@health.get("/metrics")
def metrics(request: Request, caller: CallerDep) -> Response:
    """Counters for Prometheus: for who asks from this machine, or with an administrator's token."""
    if not request.state.local:
        require_rules(caller)
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE)


@nowhere.api_route("/api/{rest:path}", methods=METHODS)
@nowhere.api_route("/cas/{rest:path}", methods=METHODS)
@nowhere.api_route("/oauth/{rest:path}", methods=METHODS)
@nowhere.api_route("/v2/{rest:path}", methods=METHODS)
async def nothing() -> Response:
    """Below `/api` and its like there are no repositories, whose pages come next."""
    raise NotFound("there is nothing at this address.")
