"""What Hugging Face's API has no words for: logs, revisions, replicas, usage, costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from lanza.auth.api.dependencies import as_moment, json_body, moment
from lanza.auth.principal import Scope
from lanza.database import now
from lanza.endpoints import logs, reports, wire
from lanza.endpoints.api.dependencies import CallerDep, ControlDep, ServerDep, TrailDep, answer
from lanza.endpoints.points import KEEP_POINTS, Window
from lanza.errors import Unauthorized

router: Final = APIRouter(prefix="/api/lanza")

Days = Annotated[int, Query(ge=1, le=3660, description="The last days, today included (UTC).")]


LAST: Final = timedelta(hours=1)
"""What charts show when nobody says since when."""


class Back(msgspec.Struct, forbid_unknown_fields=True):
    """The number of the revision to go back to; without one, the one before."""

    revision: int | None = None


@router.get("/endpoints/{namespace}/{name}/logs")
async def endpoint_logs(
    control: ControlDep,
    caller: CallerDep,
    namespace: str,
    name: str,
    follow: bool = False,
    replica: str | None = None,
) -> Response:
    """What its replicas say, or one of them, as text; with `follow`, also what they will say."""
    caller.require(Scope.MANAGE, namespace, name)
    view = await run_in_threadpool(control.get, caller, namespace, name)

    label = f"{view.endpoint.namespace}/{view.endpoint.name}"
    sources = logs.sources(control.platforms, label, view.replicas, replica)

    async def text() -> AsyncIterator[str]:
        async for line in logs.lines(sources, follow=follow):
            yield f"{line}\n"

    return StreamingResponse(text(), media_type="text/plain; charset=utf-8")


@router.get("/endpoints/{namespace}/{name}/replicas")
def endpoint_replicas(
    control: ControlDep, caller: CallerDep, namespace: str, name: str
) -> list[dict[str, Any]]:
    """Its replicas, the oldest first."""
    return [wire.replica_of(it) for it in control.get(caller, namespace, name).replicas]


@router.get("/endpoints/{namespace}/{name}/revisions")
def endpoint_revisions(
    control: ControlDep, caller: CallerDep, namespace: str, name: str
) -> list[dict[str, Any]]:
    """What it was asked to be, the newest first."""
    endpoint = control.get(caller, namespace, name).endpoint
    return [
        wire.revision_of(it, current=endpoint.revision, serving=endpoint.serving)
        for it in control.revisions(caller, namespace, name)
    ]


@router.post("/endpoints/{namespace}/{name}/rollback")
def roll_endpoint_back(
    control: ControlDep,
    trail: TrailDep,
    server: ServerDep,
    namespace: str,
    name: str,
    back: Annotated[Back, json_body(Back)],
) -> Response:
    """Go back to what an earlier revision was made of."""
    return answer(control.rollback(trail, namespace, name, back.revision), server)


@router.get("/endpoints/{namespace}/{name}/webhook")
def endpoint_webhook(control: ControlDep, caller: CallerDep, namespace: str, name: str) -> Response:
    """Where notices go, and the secret with which `X-Lanza-Signature` is made."""
    url, secret = control.webhook(caller, namespace, name)
    return JSONResponse({"url": url, "secret": secret}, headers={"Cache-Control": "no-store"})


@router.get("/endpoints/{namespace}/{name}/usage")
def endpoint_usage(
    control: ControlDep, caller: CallerDep, namespace: str, name: str, days: Days = 30
) -> list[dict[str, Any]]:
    """Requests, tokens, time of replicas and cost, by day and token."""
    caller.require(Scope.CALL, namespace, name)
    with control.database.reading() as session:
        return [
            asdict(it) for it in reports.of_endpoint(session, f"{namespace}/{name}", reports.Span(days=days))
        ]


@router.get("/endpoints/{namespace}/{name}/metrics")
def endpoint_metrics(
    control: ControlDep,
    caller: CallerDep,
    namespace: str,
    name: str,
    since: Annotated[str | None, Query(description="From when on; else an hour ago.")] = None,
    step: Annotated[int, Query(ge=1, le=1440, description="The minutes of a point, at least.")] = 1,
) -> dict[str, Any]:
    """What happened there, for charts: up to 1,500 points of the last 30 days."""
    until = now()
    first = max(as_moment("since", since) or until - LAST, until - KEEP_POINTS)
    window = Window(since=first, until=until, step=step)
    found = control.series(caller, namespace, name, window)
    return {
        "since": moment(window.since),
        "until": moment(window.until),
        "step": window.minutes,
        "points": [wire.point_of(it) for it in found],
    }


@router.get("/costs")
def costs(
    control: ControlDep,
    caller: CallerDep,
    namespace: str | None = None,
    endpoint: str | None = None,
    by: Literal["endpoint", "day", "token"] = "endpoint",
    days: Days = 30,
) -> list[dict[str, Any]]:
    """What endpoints used and cost: one, all of a namespace, or all that are the caller's."""
    if caller.anonymous:
        raise Unauthorized("this needs a token: log in with `lanza login`, or send one as Bearer.")
    if namespace is not None:
        caller.require(Scope.CALL, namespace, endpoint)
    mine = [it for it in caller.memberships if caller.may(Scope.CALL, it)]
    wanted = [namespace] if namespace is not None else None if caller.rules else mine
    with control.database.reading() as session:
        return reports.summed(session, wanted, reports.Span(days=days), endpoint=endpoint, by=by)
