"""`lanza tokens`: make, list and revoke tokens of the server in use."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.duration import duration

tokens = typer.Typer(no_args_is_help=True)

UserOption = Annotated[str | None, typer.Option("--user", help="Somebody else's; for administrators.")]


class TokenRole(StrEnum):
    """What a token may do, as its option has it."""

    READ = "read"
    WRITE = "write"
    FINE_GRAINED = "fine-grained"
    ADMIN = "admin"


@tokens.callback()
def _verbs() -> None:
    """Tokens: what programs show to be somebody."""


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for: laptop, ci, ...")],
    role: Annotated[TokenRole, typer.Option(help="What it may do.")] = TokenRole.READ,
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTITY=SCOPE,...", help="For fine-grained: ana/becas=repo.write; repeated."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends: 12h, 30d, 8w; else never.")] = None,
    user: UserOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it. It is shown this once, and kept nowhere in the clear."""
    from lanza.cli.api import call

    wanted: dict[str, Any] = {"name": name, "role": role.value}
    if grant:
        wanted["grants"] = [_grant(text) for text in grant]
    if expires is not None:
        wanted["expires_at"] = (datetime.now(UTC) + duration(expires, "--expires")).isoformat()
    if user is not None:
        wanted["user"] = user
    made = call(context(server), "POST", "/api/lanza/tokens", wanted)
    typer.echo(json.dumps(made, indent=2) if as_json else made["token"])


@tokens.command()
def ls(user: UserOption = None, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List tokens: what they are for and when they were used last, not the tokens themselves."""
    from lanza.cli.api import call
    from lanza.cli.table import show

    show(call(context(server), "GET", f"/api/lanza/tokens{_of(user)}"), as_json=as_json)


@tokens.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    user: UserOption = None,
    server: ServerOption = None,
) -> None:
    """Make a token worthless, at once and for good."""
    from lanza.cli.api import call

    call(context(server), "DELETE", f"/api/lanza/tokens/{quote(name, safe='')}{_of(user)}")
    typer.echo(f"The token {name} is revoked.")


def _of(user: str | None) -> str:
    return "" if user is None else f"?user={quote(user, safe='')}"


def _grant(text: str) -> dict[str, Any]:
    from lanza.errors import UsageError

    entity, _, scopes = text.partition("=")
    if not entity or not scopes:
        raise UsageError("--grant wants ENTITY=SCOPE,...: ana/becas=repo.content.read,repo.write")
    return {"entity": entity, "scopes": scopes.split(",")}
