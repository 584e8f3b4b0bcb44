"""Hugging Face's Inference Endpoints API, as `huggingface_hub` and `hf endpoints` call it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from lanza.endpoints import wire
from lanza.endpoints.api.dependencies import (
    CallerDep,
    ControlDep,
    RehearseDep,
    ServerDep,
    TrailDep,
    TreeDep,
    answer,
)

router: Final = APIRouter(prefix="/v2")


@router.get("/endpoint/{namespace}")
def list_endpoints(
    control: ControlDep, caller: CallerDep, server: ServerDep, namespace: str
) -> dict[str, Any]:
    """The endpoints of a namespace."""
    return {"items": [wire.described(it, server) for it in control.all_of(caller, namespace)]}


@router.post("/endpoint/{namespace}", status_code=202)
def create_endpoint(
    control: ControlDep,
    trail: TrailDep,
    server: ServerDep,
    namespace: str,
    tree: TreeDep,
    rehearse: RehearseDep,
) -> Response:
    """A new endpoint, which starts one replica to prove itself."""
    return answer(control.create(trail, namespace, tree, rehearse=rehearse), server, 202)


@router.get("/endpoint/{namespace}/{name}")
def get_endpoint(
    control: ControlDep, caller: CallerDep, server: ServerDep, namespace: str, name: str
) -> dict[str, Any]:
    """One endpoint."""
    return wire.described(control.get(caller, namespace, name), server)


@router.put("/endpoint/{namespace}/{name}")
def update_endpoint(
    control: ControlDep,
    trail: TrailDep,
    server: ServerDep,
    namespace: str,
    name: str,
    tree: TreeDep,
    rehearse: RehearseDep,
) -> Response:
    """Change the fields that the body has."""
    return answer(control.update(trail, namespace, name, tree, rehearse=rehearse), server)


@router.delete("/endpoint/{namespace}/{name}", status_code=202)
def delete_endpoint(control: ControlDep, trail: TrailDep, namespace: str, name: str) -> dict[str, Any]:
    """Take it away."""
    control.delete(trail, namespace, name)
    return {}


@router.post("/endpoint/{namespace}/{name}/pause")
def pause_endpoint(
    control: ControlDep, trail: TrailDep, server: ServerDep, namespace: str, name: str
) -> Response:
    """Stop its replicas; no request starts one."""
    return answer(control.pause(trail, namespace, name), server)


@router.post("/endpoint/{namespace}/{name}/resume")
def resume_endpoint(
    control: ControlDep, trail: TrailDep, server: ServerDep, namespace: str, name: str
) -> Response:
    """Run again after a pause or a failure."""
    return answer(control.resume(trail, namespace, name), server)


@router.post("/endpoint/{namespace}/{name}/scale-to-zero")
def scale_endpoint_to_zero(
    control: ControlDep, trail: TrailDep, server: ServerDep, namespace: str, name: str
) -> Response:
    """Stop its replicas until the next request."""
    return answer(control.scale_to_zero(trail, namespace, name), server)


@router.get("/provider/{namespace}")
def list_hardware(control: ControlDep, caller: CallerDep, namespace: str) -> dict[str, Any]:
    """The hardware that there is."""
    return wire.hardware(control.hardware(caller, namespace))
