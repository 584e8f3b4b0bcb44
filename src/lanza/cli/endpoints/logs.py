"""`lanza logs` and `lanza costs`: what an endpoint says, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.endpoints.address import EndpointArgument, NamespaceOption, endpoint_of, own_namespace


def logs(
    endpoint: EndpointArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    replica: Annotated[str | None, typer.Option(help="Only this one's; else all of them.")] = None,
    server: ServerOption = None,
) -> None:
    """Print what the replicas of an endpoint have said, those that failed last included."""
    from lanza.cli.api import stream
    from lanza.models.report import readable

    one = endpoint_of(endpoint, server)
    query = {"follow": "1"} if follow else {}
    if replica is not None:
        query["replica"] = replica
    path = one.path_of("logs") + (f"?{urlencode(query)}" if query else "")
    try:
        for line in stream(one.server, path):
            print(readable(line), flush=follow)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def costs(
    endpoint: Annotated[
        str | None, typer.Argument(metavar="ENDPOINT", help="Only this one; else all of a namespace.")
    ] = None,
    namespace: NamespaceOption = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How far to look back.")] = 30,
    by: Annotated[str, typer.Option(help="endpoint, day or token.")] = "endpoint",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what endpoints have used: requests, tokens, hours of replicas, dollars."""
    from lanza.cli.api import call
    from lanza.cli.table import show as show_table
    from lanza.errors import UsageError

    if by not in ("endpoint", "day", "token"):
        raise UsageError("--by is endpoint, day or token.")
    query: dict[str, str] = {"days": str(days), "by": by}
    if endpoint is not None:
        one = endpoint_of(endpoint, server)
        chosen, query = one.server, {**query, "namespace": one.namespace, "endpoint": one.name}
    else:
        chosen = context(server)
        query["namespace"] = namespace or own_namespace(chosen)
    found = call(chosen, "GET", f"/api/lanza/costs?{urlencode(query)}")
    if endpoint is not None and not found:
        one.get()  # one that never was is not shown as one that costs nothing
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show_table([_readable(row) for row in found], as_json=False)
    if found:
        total = sum(row["cost"] for row in found)
        print(f"\n{_dollars(total)} dollars in {days} days, until {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.")


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table: times and money with as many digits as mean something."""
    changed = {"replica_seconds": f"{row['replica_seconds']:.1f}", "cost": _dollars(row["cost"])}
    return {name: changed.get(name, str(value)) for name, value in row.items()}


def _dollars(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.6f}"
