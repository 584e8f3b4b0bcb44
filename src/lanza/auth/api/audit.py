"""The audit log over HTTP: for administrators, and for those of a namespace what concerns it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response, StreamingResponse

from lanza.auth import audit
from lanza.auth.api.dependencies import CallerDep, PartsDep, as_moment
from lanza.auth.audit import Filter
from lanza.auth.principal import Principal, Scope
from lanza.errors import Forbidden

router: Final = APIRouter(prefix="/api/lanza/audit")

Text = Annotated[str, Query(max_length=200)]
MOST_NUMBER: Final = 2**63 - 1


def _filter(
    caller: CallerDep,
    namespace: Annotated[str | None, Query(max_length=200, description="Only what concerns this.")] = None,
    who: Annotated[str | None, Query(max_length=200)] = None,
    what: Text = "",
    target: Text = "",
    since: str | None = None,
    until: str | None = None,
    before: Annotated[int | None, Query(ge=0, le=MOST_NUMBER, description="`next` of an answer.")] = None,
) -> Filter:
    return Filter(
        namespace=_allowed(caller, namespace),
        who=who,
        what=what,
        target=target,
        since=as_moment("since", since),
        until=as_moment("until", until),
        before=before,
    )


FilterDep = Annotated[Filter, Depends(_filter)]


@router.get("")
def list_deeds(
    parts: PartsDep, wanted: FilterDep, limit: Annotated[int, Query(ge=1, le=audit.MOST)] = 100
) -> dict[str, Any]:
    """Who did what, the newest first. `next` is what `before` has to be for those that follow, or null."""
    with parts.database.reading() as session:
        found = audit.entries(session, wanted, limit=limit)
        following = found[-1].id if len(found) == limit else None
        return {"items": [audit.described(deed) for deed in found], "next": following}


@router.get("/export")
def export_deeds(parts: PartsDep, wanted: FilterDep) -> Response:
    """All of it, the oldest first, as JSON lines."""
    return StreamingResponse(audit.lines(parts.database, wanted), media_type="application/x-ndjson")


def _allowed(caller: Principal, namespace: str | None) -> str | None:
    """The namespace to be shown; None is all, for administrators of the server only."""
    if caller.rules:
        return namespace
    namespace = namespace or caller.name
    caller.require(Scope.MANAGE, namespace)
    if not caller.owns(namespace):
        raise Forbidden(f"the audit log of {namespace} is for its administrators: ask one of them.")
    return namespace
