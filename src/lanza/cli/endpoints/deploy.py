"""`lanza deploy MODEL`: an endpoint for a model, from the command line or from an `endpoint.yaml`.

What options say is laid over what the file says (`tree.py`); what neither says is the server's choice. A
folder is pushed first, so that what is served is what is kept; what a month may cost is said before it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.endpoints.address import Endpoint
from lanza.cli.endpoints.options import (
    BudgetOption,
    EachOption,
    EnvFileOption,
    EnvOption,
    ExpiresOption,
    IdleOption,
    MaxOption,
    MinOption,
    PeakOption,
    PerDayOption,
    RehearseOption,
    SecretOption,
    SecretsFileOption,
    SizeOption,
    TimeoutOption,
    TypeOption,
    WaitOption,
)


def deploy(
    model: Annotated[
        str | None, typer.Argument(help="A repository (namespace/name), or a folder, which is pushed first.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The endpoint's name; else the model's.")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Whose; else the model's.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="endpoint.yaml", help="All of it, in a file.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the model.")] = None,
    task: Annotated[str | None, typer.Option(help="What to serve it for; else what the model says.")] = None,
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
    rehearse: RehearseOption = False,
    per_day: PerDayOption = None,
    each: EachOption = 1.0,
    peak: PeakOption = 3.0,
    wait: WaitOption = True,
    timeout: TimeoutOption = 900,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a model a URL that answers: with a token, scaled to zero when idle, stopped at its budget."""
    from lanza.cli.api import call
    from lanza.cli.endpoints.estimate import forecast, tell
    from lanza.cli.endpoints.model import folder_of, name_of, push_model, repository_in, repository_of
    from lanza.cli.endpoints.tree import allowed_in, given_variables, lay_over, read_tree
    from lanza.cli.endpoints.waiting import check_outcome, wait_for

    chosen = context(server)
    tree = read_tree(file)
    folder = None if model is None else folder_of(model)
    if model is None:
        repository = repository_in(tree, "deploy")
    else:
        repository = repository_of(chosen, model, folder, namespace)
    owner = namespace or repository.partition("/")[0]
    tree["name"] = name or tree.get("name") or name_of(repository)
    lay_over(
        tree,
        allowed=allowed_in(tree),
        repository=repository,
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
    if folder is not None:
        new = Endpoint(server=chosen, namespace=owner, name=str(tree["name"]))
        push_model(new, folder, repository, option=server, quiet=as_json)
    estimated = forecast(chosen, tree, per_day=per_day, each=each, peak=peak, rehearse=rehearse)
    if not as_json:
        tell(estimated, per_day)
    query = "?rehearse=1" if rehearse else ""
    made = call(chosen, "POST", f"/v2/endpoint/{owner}{query}", tree)
    endpoint = Endpoint(server=chosen, namespace=owner, name=made["name"])
    if wait:
        made = wait_for(endpoint, seconds=timeout, quiet=as_json)
    if as_json:
        typer.echo(json.dumps({**made, "estimate": estimated}, indent=2))
        check_outcome(endpoint, made)
        return
    check_outcome(endpoint, made)
    _tell(endpoint, made)


def _tell(endpoint: Endpoint, made: Mapping[str, Any]) -> None:
    status = made["status"]
    print(f"{endpoint} is {status['state']}{_because(status)}")
    if url := status.get("url"):
        print(f"  url      {url}")
        print(f"  page     {url}/docs")
        print(f"  python   InferenceClient({url!r}, token=...)")
    print(f"  logs     lanza logs -f {endpoint}")
    print(f"  costs    lanza costs {endpoint}", flush=True)


def _because(status: Mapping[str, Any]) -> str:
    return f": {status['message']}" if status.get("message") else ""
