"""Imports from the upstream hub, for those who may write where they go: what `lanza hub pull` asks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter
from starlette.requests import Request

from lanza.errors import BadRequest, Unauthorized
from lanza.hub.api.dependencies import CallerDep, json_body
from lanza.hub.names import Kind, parse_repo
from lanza.hub.upstream.imports import Import, Imports

router = APIRouter(prefix="/api/lanza/imports")


class WantedImport(msgspec.Struct, forbid_unknown_fields=True):
    """`repo` is its name upstream, `to` the one that it gets here: the same, if nothing is said."""

    repo: str
    to: str | None = None
    kind: Literal["model", "dataset", "space"] = "model"
    revision: str = "main"


@router.post("", status_code=202)
async def begin_import(
    request: Request, caller: CallerDep, wanted: Annotated[WantedImport, json_body(WantedImport)]
) -> dict[str, Any]:
    """Begin to bring a repository of the upstream hub here for good."""
    if caller.anonymous:
        raise Unauthorized("an import needs a token: log in with `hf auth login`.")
    kind = Kind(wanted.kind)
    source, target = parse_repo(kind, wanted.repo), parse_repo(kind, wanted.to or wanted.repo)
    if not target.namespace:
        raise BadRequest(f"{target} has no namespace: say where it goes with --to NAMESPACE/{target}.")
    return _shown(await _imports(request).begin(caller, source, target, wanted.revision))


@router.get("/{import_id}")
async def read_import(request: Request, caller: CallerDep, import_id: str) -> dict[str, Any]:
    """How far an import has come, or what became of it."""
    return _shown(_imports(request).find(caller, import_id))


def _imports(request: Request) -> Imports:
    found: Imports = request.app.state.imports
    return found


def _shown(one: Import) -> dict[str, Any]:
    return {
        "id": one.id,
        "state": one.state,
        "repo": one.target.id,
        "kind": one.target.kind.value,
        **msgspec.to_builtins(one.progress),
        "commit": one.commit,
        "error": one.error,
    }
