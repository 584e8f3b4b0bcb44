"""`lanza policy`: what a namespace refuses in pushes."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lanza.cli.context import JsonOption, ServerOption, context


def policy(
    namespace: Annotated[str, typer.Argument(help="A user or an organization.")],
    refuse: Annotated[
        str | None,
        typer.Option(metavar="KIND,...", help="From now on: pickle,safetensors,secret, or nothing."),
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set what pushes to a namespace may not bring, beside what the server refuses everywhere.

    pickle: what runs code when loaded, or cannot be scanned; safetensors: damaged files; secret: tokens and
    keys in text. Files that are there already stay.
    """
    from lanza.cli.api import call

    path = f"/api/lanza/namespaces/{quote(namespace, safe='')}/policy"
    if refuse is None:
        found = call(context(server), "GET", path)
    else:
        found = call(context(server), "PUT", path, {"refuse": _kinds(refuse)})
    typer.echo(json.dumps(found, indent=2) if as_json else _words(found))


def _kinds(given: str) -> list[str]:
    named = [one.strip() for one in given.split(",") if one.strip()]
    return [] if named == ["nothing"] else named


def _words(found: dict[str, Any]) -> str:
    own = ", ".join(found["refuse"]) or "nothing"
    by_server = ", ".join(found["refused_by_server"]) or "nothing"
    return f"{found['namespace']} refuses {own}; the server refuses {by_server} everywhere."
