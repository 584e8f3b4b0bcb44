"""`lanza audit`: who did what on the server in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from lanza.cli.context import Context, JsonOption, ServerOption, context
from lanza.cli.duration import duration

PAGE: Final = 500


def audit(
    namespace: Annotated[str | None, typer.Argument(help="Only what concerns this user or org.")] = None,
    who: Annotated[str | None, typer.Option(help="Only what this account did.")] = None,
    what: Annotated[str | None, typer.Option(help="Only this: endpoint.pause, or token.")] = None,
    since: Annotated[str | None, typer.Option(help="How far back: 12h, 30d, 8w.")] = None,
    most: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many entries.")] = 50,
    lines: Annotated[bool, typer.Option("--lines", help="All entries, one JSON object a line.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who did what, the newest first. For administrators; else what concerns your own namespaces."""
    from lanza.cli.table import show

    query = {"namespace": namespace, "who": who, "what": what}
    if since is not None:
        query["since"] = (datetime.now(UTC) - duration(since, "--since")).isoformat()
    chosen = context(server)
    given = {name: value for name, value in query.items() if value is not None}
    if lines:
        for entry in _entries(chosen, given, PAGE):
            typer.echo(json.dumps(entry, ensure_ascii=False))
        return
    found = list(islice(_entries(chosen, given, min(most, PAGE)), most))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show([_row(entry) for entry in found], as_json=False)


def _entries(chosen: Context, query: dict[str, str], page: int) -> Iterator[dict[str, Any]]:
    from lanza.cli.api import call

    before: int | None = None
    while True:
        asked = {**query, "limit": page} | ({} if before is None else {"before": before})
        answer = call(chosen, "GET", f"/api/lanza/audit?{urlencode(asked)}")
        yield from answer["items"]
        before = answer["next"]
        if before is None:
            return


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    told = ", ".join(f"{name}={value}" for name, value in entry["details"].items() if value is not None)
    return {
        "when": entry["at"][:19].replace("T", " "),
        "who": f"{entry['who']}/{entry['token']}" if entry["token"] else entry["who"],
        "what": entry["what"],
        "target": entry["target"],
        "details": told,
        "from": entry["address"],
    }
