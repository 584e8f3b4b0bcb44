"""Endpoints at work: `lanza ps`, `pause`, `resume`, `scale`, `update`, `rollback`, `hardware`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.endpoints.address import (
    Endpoint,
    EndpointArgument,
    NamespaceOption,
    endpoint_of,
    own_namespace,
    row_of,
)
from lanza.cli.endpoints.options import (
    BudgetOption,
    EnvFileOption,
    EnvOption,
    ExpiresOption,
    IdleOption,
    MaxOption,
    MinOption,
    SecretOption,
    SecretsFileOption,
    SizeOption,
    TimeoutOption,
    TypeOption,
    WaitOption,
)
from lanza.cli.endpoints.tree import allowed_in, given_variables, lay_over, read_tree


def ps(namespace: NamespaceOption = None, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List endpoints: their state, how many replicas are ready, what is wrong with them."""
    from lanza.cli.api import call
    from lanza.cli.table import show as show_table

    chosen = context(server)
    found = call(chosen, "GET", f"/v2/endpoint/{namespace or own_namespace(chosen)}")["items"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show_table([row_of(one) for one in found], as_json=False)


def pause(endpoint: EndpointArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Stop an endpoint until it is resumed: it costs nothing, and answers 503."""
    _after(endpoint_of(endpoint, server), "pause", as_json=as_json)


def resume(
    endpoint: EndpointArgument,
    wait: WaitOption = True,
    timeout: TimeoutOption = 900,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an endpoint again that was paused, or try one anew that failed. One that runs goes on."""
    from lanza.cli.endpoints.waiting import stands_still
    from lanza.errors import BadRequest

    one = endpoint_of(endpoint, server)
    try:
        one.ask("POST", "resume")
    except BadRequest:
        if stands_still(one.get()):
            raise
    _settled(one, wait=wait, timeout=timeout, as_json=as_json)


def scale(
    endpoint: EndpointArgument,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    idle: IdleOption = None,
    zero: Annotated[bool, typer.Option("--zero", help="To zero now; the next request wakes it.")] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change how many replicas an endpoint may have, or scale it to zero now. Nothing is restarted."""
    from lanza.errors import UsageError

    one = endpoint_of(endpoint, server)
    if minimum is None and maximum is None and idle is None and not zero:
        raise UsageError("say what to change: --min, --max, --idle, or --zero.")
    tree: dict[str, Any] = {}
    lay_over(tree, allowed=_allowed(one, minimum), minimum=minimum, maximum=maximum, idle=idle)
    if tree:
        one.ask("PUT", body=tree)
    if zero:
        one.ask("POST", "scale-to-zero")
    _settled(one, wait=False, timeout=1, as_json=as_json)


def update(
    endpoint: EndpointArgument,
    model: Annotated[str | None, typer.Option(help="Another repository.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the model.")] = None,
    task: Annotated[str | None, typer.Option(help="What to serve it for.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="endpoint.yaml", help="What to change, in a file.")
    ] = None,
    access: TypeOption = None,
    size: SizeOption = None,
    minimum: MinOption = None,
    maximum: MaxOption = None,
    idle: IdleOption = None,
    budget: BudgetOption = None,
    expires: ExpiresOption = None,
    env: EnvOption = None,
    env_file: EnvFileOption = None,
    secret: SecretOption = None,
    secrets_file: SecretsFileOption = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = 900,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an endpoint while it serves: the new revision takes over once it is ready, or not at all.

    With nothing to change it takes the newest commit of its model.
    """
    one = endpoint_of(endpoint, server)
    tree = read_tree(file)
    lay_over(
        tree,
        allowed=_allowed(one, minimum),
        repository=model,
        access=access,
        revision=revision,
        task=task,
        size=size,
        minimum=minimum,
        maximum=maximum,
        idle=idle,
        budget=budget,
        expires=expires,
        variables=given_variables("--env", env, env_file),
        secrets=given_variables("--secret", secret, secrets_file),
    )
    one.ask("PUT", body=tree)
    _settled(one, wait=wait, timeout=timeout, as_json=as_json)


def rollback(
    endpoint: EndpointArgument,
    to: Annotated[int | None, typer.Option("--to", min=1, help="A revision; else the one before.")] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = 900,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go back to an earlier revision of an endpoint, secrets included."""
    one = endpoint_of(endpoint, server)
    one.ours("POST", "rollback", {} if to is None else {"revision": to})
    _settled(one, wait=wait, timeout=timeout, as_json=as_json)


def open_(endpoint: EndpointArgument, server: ServerOption = None) -> None:
    """Open an endpoint's page in the browser: what it takes and answers. It asks for a name and a token."""
    from lanza.errors import UsageError

    one = endpoint_of(endpoint, server)
    url = one.get()["status"].get("url")
    if not url:
        raise UsageError(f"{one} has no URL yet: `lanza show {one}` says why.")
    page = f"{url}/docs"
    print(page, flush=True)
    typer.launch(page)


def hardware(
    namespace: NamespaceOption = None, server: ServerOption = None, as_json: JsonOption = False
) -> None:
    """List the hardware that endpoints can run on here, and what an hour of it costs."""
    from lanza.cli.api import call
    from lanza.cli.table import show as show_table

    chosen = context(server)
    found = call(chosen, "GET", f"/v2/provider/{namespace or own_namespace(chosen)}")["vendors"]
    rows = [
        {
            "size": one["instanceSize"],
            "type": one["instanceType"],
            "accelerator": one["accelerator"],
            "cpus": one["numCpus"],
            "memory_gb": one["memoryGb"],
            "dollars_per_hour": round(one["pricePerHour"], 4),
            "where": f"{vendor['name']} {region['name']}",
            "status": one["status"],
        }
        for vendor in found
        for region in vendor["regions"]
        for one in region["computes"]
    ]
    show_table(rows, as_json=as_json)


def _allowed(one: Endpoint, minimum: int | None) -> int:
    """How many replicas it may have, asked for only where a minimum may raise that."""
    return 1 if minimum is None else allowed_in(one.get())


def _after(one: Endpoint, verb: str, *, as_json: bool) -> None:
    found = one.ask("POST", verb)
    typer.echo(json.dumps(found, indent=2) if as_json else f"{one} is {found['status']['state']}.")


def _settled(one: Endpoint, *, wait: bool, timeout: float, as_json: bool) -> None:
    from lanza.cli.endpoints.waiting import check_outcome, wait_for

    found = wait_for(one, seconds=timeout, quiet=as_json) if wait else one.get()
    typer.echo(json.dumps(found, indent=2) if as_json else f"{one} is {found['status']['state']}.")
    check_outcome(one, found)
