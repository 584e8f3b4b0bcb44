"""`lanza deploy MODEL`: an endpoint for a model, from the command line or from an `endpoint.yaml`.

What options say is laid over what the file says (`tree.py`); what neither says is the server's choice. A
folder is pushed first, so that what is served is what is kept; what a month may cost is said before it runs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lanza.cli.context import Context, JsonOption, ServerOption, context
from lanza.cli.endpoints.address import Endpoint, own_namespace
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

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


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
    from lanza.cli.endpoints.tree import given_variables, lay_over, read_tree
    from lanza.cli.endpoints.waiting import check_outcome, wait_for
    from lanza.errors import UsageError

    chosen = context(server)
    tree = read_tree(file)
    if model is not None:
        tree.setdefault("model", {})["repository"] = _repository(chosen, model, server, quiet=as_json)
    elif not tree.get("model", {}).get("repository"):
        raise UsageError("name a model: lanza deploy namespace/name, or a file with --file endpoint.yaml.")
    repository = tree["model"]["repository"]
    tree["name"] = name or tree.get("name") or _name_of(repository)
    lay_over(
        tree,
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
    estimated = forecast(chosen, tree, per_day=per_day, each=each, peak=peak, rehearse=rehearse)
    if not as_json:
        tell(estimated, per_day)
    owner = namespace or repository.partition("/")[0]
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


def _repository(server: Context, model: str, option: str | None, *, quiet: bool) -> str:
    """The repository that `model` means; a folder is pushed to one of its name first."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model if "/" in model else f"{own_namespace(server)}/{model}"
    from lanza.cli.push import push_folder

    repo = f"{own_namespace(server)}/{_name_of(folder.resolve().name)}"
    if not quiet:
        print(f"lanza: pushing {folder} to {repo}", file=sys.stderr)
    push_folder(folder, repo, server=option, quiet=quiet)
    return repo


def _name_of(repository: str) -> str:
    name = _NOT_IN_NAMES.sub("-", repository.rpartition("/")[2].lower()).strip("-")
    return name[:64].rstrip("-") or "model"


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
