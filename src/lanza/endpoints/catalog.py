"""The catalog: this server's own models, and recipes to deploy them.

The model: a recipe is a repository on one kind of hardware that has the memory for it; its id says both. The
first recipe of a model, the smallest, is the one that is deployed when nobody chooses.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

from lanza.auth.audit import Trail
from lanza.auth.principal import Principal
from lanza.endpoints.control import Control, View
from lanza.endpoints.hardware import fitting
from lanza.endpoints.platform import Instance
from lanza.endpoints.repositories import Listed, Search
from lanza.endpoints.spec import LONGEST_NAME
from lanza.errors import BadRequest, NotFound

ENGINE: Final = "lanza"
"""What runs recipes: the best engine here for the model. The catalog has models of no other."""

_RECIPE: Final = re.compile(r"(\d{1,18})-(.+)")
_FRAMEWORK: Final = "pytorch"


def models(
    control: Control, caller: Principal, search: Search, *, accelerator: str | None, engine: str | None
) -> list[tuple[Listed, Sequence[Instance]]]:
    """Models that can be deployed, each with the hardware of its recipes."""
    if engine not in (None, ENGINE):
        return []
    offers = [it for it in _offers(control) if accelerator in (None, it.accelerator)]
    found = ((it, fitting(offers, it.needs_bytes)) for it in control.repositories.listed(caller, search))
    return [(model, instances) for model, instances in found if instances]


def deploy(
    control: Control,
    trail: Trail,
    repository: str,
    namespace: str,
    *,
    name: str | None = None,
    accelerator: str | None = None,
    instance: Instance | None = None,
) -> View:
    """Deploy a model on `instance`, or on the smallest hardware that it fits."""
    provider, compute = {}, {"accelerator": accelerator or "cpu"}
    if instance is not None:
        provider = {"vendor": instance.vendor, "region": instance.region}
        compute = {
            "accelerator": instance.accelerator,
            "instanceType": instance.type,
            "instanceSize": instance.size,
        }
    tree: dict[str, Any] = {
        "name": name or name_for(repository),
        "type": "authenticated",
        "provider": provider,
        "compute": compute,
        "model": {"repository": repository, "framework": _FRAMEWORK},
    }
    return control.create(trail, namespace, tree)


def deploy_recipe(
    control: Control, trail: Trail, recipe: str, namespace: str, *, name: str | None = None
) -> View:
    """NotFound when there is no such recipe, or not for this caller."""
    parts = _RECIPE.fullmatch(recipe)
    instance = next((it for it in _offers(control) if parts and it.id == parts[2]), None)
    if parts is None or instance is None:
        raise NotFound(
            f"there is no recipe {recipe!r}: `hf endpoints catalog ls` lists those that there are."
        )
    repository = control.repositories.name_of(trail.caller, int(parts[1]))
    return deploy(control, trail, repository, namespace, name=name, instance=instance)


def recipe_id(repo_id: int, instance: Instance) -> str:
    return f"{repo_id}-{instance.id}"


def name_for(repository: str) -> str:
    """A name for an endpoint of this model, unlike any other."""
    plain = re.sub(r"[^a-z0-9]+", "-", repository.rpartition("/")[2].lower()).strip("-")
    ending = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz") for _ in range(3))
    return f"{plain[: LONGEST_NAME - 4].strip('-') or 'model'}-{ending}"


def check_gguf(file: str | None) -> None:
    if file is not None:
        raise BadRequest("no recipe here is of a single GGUF file: leave it out.")


def _offers(control: Control) -> list[Instance]:
    return [it for platform in control.platforms.values() for it in platform.offers()]
