"""Hugging Face's catalog API: this server's own models, and their deployment in one call."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query

from lanza.auth.api.dependencies import json_body
from lanza.endpoints import catalog, wire
from lanza.endpoints.api.dependencies import CallerDep, ControlDep, ServerDep, TrailDep
from lanza.endpoints.repositories import Search

router: Final = APIRouter(prefix="/api/v1/catalog")


class Config(msgspec.Struct, frozen=True):
    """What may be said of a deployment: its name."""

    name: str | None = None


class Wanted(msgspec.Struct, rename="camel"):
    """The namespace to deploy in, and what recipe it is to be."""

    namespace: str
    config: Config = Config()
    accelerator: str | None = None
    gguf_file: str | None = None


WantedDep = Annotated[Wanted, json_body(Wanted)]


@router.get("/list")
def list_catalog(
    control: ControlDep,
    caller: CallerDep,
    accelerator: str | None = None,
    engine: str | None = None,
    license: str | None = None,
    task: str | None = None,
    search: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> dict[str, Any]:
    """The models that can be deployed, with their recipes."""
    wanted = Search(task=task, license=license, words=search, limit=limit)
    return wire.catalog(catalog.models(control, caller, wanted, accelerator=accelerator, engine=engine))


@router.post("/model/{namespace}/{name}/deploy", status_code=202)
def deploy_model(
    control: ControlDep, trail: TrailDep, server: ServerDep, namespace: str, name: str, wanted: WantedDep
) -> dict[str, Any]:
    """Deploy a model by its default recipe."""
    catalog.check_gguf(wanted.gguf_file)
    view = catalog.deploy(
        control,
        trail,
        f"{namespace}/{name}",
        wanted.namespace,
        name=wanted.config.name,
        accelerator=wanted.accelerator,
    )
    return {"endpoint": wire.described(view, server)}


@router.post("/recipe/{recipe}/deploy", status_code=202)
def deploy_recipe(
    control: ControlDep, trail: TrailDep, server: ServerDep, recipe: str, wanted: WantedDep
) -> dict[str, Any]:
    """Deploy one recipe."""
    view = catalog.deploy_recipe(control, trail, recipe, wanted.namespace, name=wanted.config.name)
    return {"endpoint": wire.described(view, server)}
