"""Which model `lanza deploy` means: a repository, the one that a file names, or a folder, which is pushed.

A folder is pushed only once it is known that it holds a model and that the endpoint's name is free: what is
pushed can be read by others.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lanza.cli.context import Context
from lanza.cli.endpoints.address import Endpoint, own_namespace
from lanza.cli.endpoints.tree import part

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_REPOSITORY: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def folder_of(model: str) -> Path | None:
    """The folder that `model` means; None for the name of a repository. UsageError for what is neither."""
    from lanza.errors import UsageError

    folder = Path(os.path.expanduser(model))  # noqa: PTH111 (pathlib raises on an unknown ~user)
    if model and folder.is_dir():  # an empty path would be this very folder
        return folder
    if model and folder.exists():
        raise UsageError(f"{model} is a file: name the model's folder, or a repository (namespace/name).")
    if not _REPOSITORY.fullmatch(model):
        raise UsageError(f"{model!r} is neither a folder nor the name of a repository (namespace/name).")
    return None


def repository_of(server: Context, model: str, folder: Path | None, namespace: str | None) -> str:
    """The repository that `model` names, or that its folder is to be pushed to."""
    if folder is not None:
        return f"{namespace or own_namespace(server)}/{name_of(folder.resolve().name)}"
    return model if "/" in model else f"{own_namespace(server)}/{model}"


def repository_in(tree: Mapping[str, Any], verb: str) -> str:
    """The repository that a file names. UsageError without a file, BadRequest for what is wrong in it."""
    from lanza.errors import UsageError

    if not tree:
        raise UsageError(f"name a model: lanza {verb} namespace/name, or a file with --file endpoint.yaml.")
    from lanza.endpoints.reading import read_spec

    found = part(tree, "model").get("repository")
    return found if isinstance(found, str) else read_spec({"name": "x", **tree}).model.repository


def push_model(endpoint: Endpoint, folder: Path, repository: str, *, option: str | None, quiet: bool) -> None:
    """Push a folder for a new endpoint. UsageError when it holds no model, or there is that endpoint."""
    from lanza.cli.push import push_folder
    from lanza.errors import NotFound, UsageError
    from lanza.models.facts import FolderKind, read_facts

    if read_facts(folder).kind is FolderKind.UNKNOWN:
        raise UsageError(f"{folder} holds no model that could be served: `lanza doctor {folder}` says why.")
    with suppress(NotFound):
        endpoint.get()
        raise UsageError(
            f"there is an endpoint {endpoint} already. To serve this folder there: `lanza push {folder} "
            f"{repository} && lanza update {endpoint}`; or choose another name with --name."
        )
    if not quiet:
        print(f"lanza: pushing {folder} to {repository}", file=sys.stderr)
    push_folder(folder, repository, server=option, quiet=quiet)


def name_of(repository: str) -> str:
    """What its endpoint is called, and the repository of a folder, unless it is told."""
    name = _NOT_IN_NAMES.sub("-", repository.rpartition("/")[2].lower()).strip("-")
    return name[:64].rstrip("-") or "model"
