"""`lanza deploy MODEL`: an endpoint for a model, from the command line or from an `endpoint.yaml`.

What options say is laid over what the file says; what neither says is the server's choice. A folder is pushed
first, so that what is served is what is kept.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lanza.cli.context import Context, JsonOption, ServerOption, context
from lanza.cli.endpoints.address import Endpoint, own_namespace

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")

EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A variable; NAME alone takes its value from here."),
]
EnvFileOption = Annotated[
    Path | None, typer.Option("--env-file", metavar="FILE", help="Variables, a NAME=VALUE a line.")
]
SecretOption = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME", help="A secret, its value taken from here; or NAME=VALUE."),
]
SecretsFileOption = Annotated[
    Path | None, typer.Option("--secrets-file", metavar="FILE", help="Secrets, a NAME=VALUE a line.")
]
MinOption = Annotated[
    int | None, typer.Option("--min", min=0, help="Replicas at least; 0 goes to zero when idle (default).")
]
MaxOption = Annotated[int | None, typer.Option("--max", min=1, help="Replicas at most; else 1.")]
IdleOption = Annotated[
    float | None, typer.Option("--idle", metavar="MINUTES", help="Idle minutes until zero; else 15.")
]
SizeOption = Annotated[
    str | None,
    typer.Option("--size", help="Size of its hardware, as `lanza hardware` lists; else what fits."),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", metavar="DOLLARS[/day|/month|/total]", help="It is paused there.")
]
ExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="Removed after that: 12h, 30d, 8w.")
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Until it answers, or has failed.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


class Access(StrEnum):
    """Who may call it, as options have it."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    PROTECTED = "protected"
    PRIVATE = "private"


TypeOption = Annotated[
    Access | None, typer.Option("--type", help="Who may call it; else protected: tokens of the namespace.")
]


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
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Hardware that is not here becomes this machine.")
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = 900,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a model a URL that answers: with a token, scaled to zero when idle, stopped at its budget."""
    from lanza.cli.api import call
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
    owner = namespace or repository.partition("/")[0]
    query = "?rehearse=1" if rehearse else ""
    made = call(chosen, "POST", f"/v2/endpoint/{owner}{query}", tree)
    endpoint = Endpoint(server=chosen, namespace=owner, name=made["name"])
    if wait:
        made = wait_for(endpoint, seconds=timeout, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(made, indent=2))
        check_outcome(endpoint, made)
        return
    check_outcome(endpoint, made)
    _tell(endpoint, made)


def read_tree(file: Path | None) -> dict[str, Any]:
    """What an endpoint.yaml says; nothing without one."""
    from lanza.errors import UsageError

    if file is None:
        return {}
    from lanza.cli.extras import needs

    with needs("client"):
        from lanza.endpoints.document import read_document
    try:
        return dict(read_document(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error


def given_variables(option: str, given: list[str] | None, file: Path | None) -> dict[str, str]:
    from lanza.cli.endpoints.variables import pairs, read_file

    return {**(read_file(file) if file else {}), **pairs(option, given or [])}


def lay_over(
    tree: dict[str, Any],
    *,
    access: Access | None = None,
    revision: str | None = None,
    task: str | None = None,
    size: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    idle: float | None = None,
    budget: str | None = None,
    expires: str | None = None,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Put what options say into a spec's tree. UsageError for what is no budget or no span of time."""
    from lanza.cli.duration import duration

    scaling = {"minReplica": minimum, "maxReplica": maximum, "scaleToZeroTimeout": idle}
    if minimum is not None and maximum is None and minimum > 1:
        scaling["maxReplica"] = minimum
    wanted: dict[str, Any] = {
        "type": access.value if access else None,
        "model": {"revision": revision, "task": task, "env": variables or None, "secrets": secrets or None},
        "compute": {"instanceSize": size, "scaling": scaling},
        "budget": _budget(budget) if budget else None,
        "expires": (datetime.now(UTC) + duration(expires, "--expires")).isoformat() if expires else None,
    }
    _overlay(tree, wanted)


def _overlay(tree: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """What is None was not said."""
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            inner = dict(tree.get(key) or {})
            _overlay(inner, value)
            if inner:
                tree[key] = inner
        elif value is not None:
            tree[key] = value


def _budget(text: str) -> dict[str, Any]:
    from lanza.errors import UsageError

    amount, _, period = text.removeprefix("$").partition("/")
    try:
        found = {"amount": float(amount), "period": period or "month"}
    except ValueError:
        found = {}
    if not found or found["period"] not in ("day", "month", "total"):
        raise UsageError("--budget wants dollars, and perhaps a period: 5, 2.5/day, 20/month, 50/total.")
    return found


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
