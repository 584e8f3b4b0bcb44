"""`lanza show ENDPOINT`: what an endpoint is, what it did in the last hour, its replicas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from lanza.cli.context import JsonOption, ServerOption
from lanza.cli.endpoints.address import Endpoint, EndpointArgument, endpoint_of


def show(endpoint: EndpointArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Show an endpoint: what it is, where it is, what it did in the last hour, its replicas."""
    one = endpoint_of(endpoint, server)
    found = one.get()
    replicas = one.ours("GET", "replicas")
    hour = hour_of(one.ours("GET", "metrics")["points"])
    if as_json:
        typer.echo(json.dumps({**found, "replicas": replicas, "lastHour": hour}, indent=2))
        return
    _page(one, found, hour)
    if replicas:
        from lanza.cli.table import show as show_table

        print()
        show_table(replicas, as_json=False)


def hour_of(points: Any) -> dict[str, Any]:
    """What happened in all of them together: `mean` and `slowest` are seconds, None when nobody asked."""
    requests = sum(it["requests"] for it in points)
    return {
        "requests": requests,
        "errors": sum(it["errors"] for it in points),
        "mean": sum(it["seconds"] for it in points) / requests if requests else None,
        "slowest": max(it["slowest"] for it in points) if requests else None,
    }


def hour_line(hour: Mapping[str, Any]) -> str:
    if not hour["requests"]:
        return "no requests"
    times = f"{hour['mean']:.3g} s on average, {hour['slowest']:.3g} s the slowest"
    return f"{hour['requests']} requests, {hour['errors']} errors, {times}"


def _page(endpoint: Endpoint, found: Any, hour: Mapping[str, Any]) -> None:
    from lanza.models.report import readable

    status, compute, model = found["status"], found["compute"], found["model"]
    scaling = compute["scaling"]
    revision = f" at {model['revision'][:12]}" if model.get("revision") else ""
    lines = {
        "endpoint": f"{endpoint} ({found['type']})",
        "state": status["state"],
        "message": status.get("message") or None,
        "url": status.get("url"),
        "model": f"{model['repository']}{revision}",
        "task": model.get("task"),
        "hardware": f"{compute['instanceType']} {compute['instanceSize']}",
        "replicas": f"{status.get('readyReplica', 0)} ready of {status.get('targetReplica', 0)}, "
        f"{scaling['minReplica']} to {scaling['maxReplica']} allowed",
        "last hour": hour_line(hour),
        "budget": _budget_line(found.get("budget")),
        "expires": found.get("expires"),
        "changed": status["updatedAt"],
    }
    for name, value in lines.items():
        if value is not None:
            print(f"{name:<9} {readable(str(value))}")


def _budget_line(budget: Any) -> str | None:
    if not budget:
        return None
    period = {"total": "in all"}.get(budget["period"], f"a {budget['period']}")
    return f"{budget['amount']:g} dollars {period}"
