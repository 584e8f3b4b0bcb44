"""`lanza users`: accounts of the server in use; for its administrators."""

from __future__ import annotations

import json
import sys
from typing import Annotated
from urllib.parse import quote

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.sure import be_sure

users = typer.Typer(no_args_is_help=True)


@users.callback()
def _verbs() -> None:
    """Accounts: who may log in, and own repositories."""


@users.command()
def add(
    name: Annotated[str, typer.Argument(help="The user's name, and namespace.")],
    email: Annotated[str | None, typer.Option(help="An address.")] = None,
    full_name: Annotated[str, typer.Option(help="The name as people say it.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May do everything here.")] = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Ask for none: no login in a browser.")
    ] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a user. The password is asked for, or read from standard input.

    A first token for them: lanza tokens create NAME --role write --user USER
    """
    from lanza.cli.api import call

    chosen = context(server)
    wanted = {
        "name": name,
        "email": email,
        "full_name": full_name,
        "admin": admin,
        "password": None if no_password else _password(name),
    }
    made = call(chosen, "POST", "/api/lanza/users", wanted)
    typer.echo(json.dumps(made, indent=2) if as_json else f"{name} is a user of {chosen.url}.")


@users.command()
def ls(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List users and organizations."""
    from lanza.cli.api import call
    from lanza.cli.table import show

    show(call(context(server), "GET", "/api/lanza/users"), as_json=as_json)


@users.command()
def rm(
    name: Annotated[str, typer.Argument(help="The user's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: ServerOption = None,
) -> None:
    """Remove a user, with tokens and repositories."""
    from lanza.cli.api import call

    chosen = context(server)
    be_sure(f"Remove {name} from {chosen.url}, with all repositories?", yes=yes)
    call(chosen, "DELETE", f"/api/lanza/users/{quote(name, safe='')}")
    typer.echo(f"{name} is removed.")


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    typed: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    return typed
