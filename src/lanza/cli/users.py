"""`lanza users`: accounts of the server in use; for its administrators."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lanza.cli.context import Context, JsonOption, ServerOption, context
from lanza.cli.size import size
from lanza.cli.sure import be_sure

users = typer.Typer(no_args_is_help=True)

QuotaOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="What may be stored: 500MB, 50GB, 2TB; none: the server's own limit."),
]


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
    """List users and organizations, with what they store in bytes, and what they may."""
    from lanza.cli.table import show

    show(accounts(context(server)), as_json=as_json)


@users.command(name="set")
def change(
    name: Annotated[str, typer.Argument(help="The user's name.")],
    quota: QuotaOption = None,
    admin: Annotated[
        bool | None, typer.Option("--admin/--no-admin", help="May do everything here, or no longer.")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password", help="A new one: asked for, or read from standard input.")
    ] = False,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a user may store or do, or the password."""
    changes: dict[str, Any] = {}
    if quota is not None:
        changes["quota_bytes"] = quota_bytes(quota)
    if admin is not None:
        changes["admin"] = admin
    if password:
        changes["password"] = _password(name)
    set_account(context(server), name, changes, as_json=as_json)


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


def accounts(chosen: Context) -> list[dict[str, Any]]:
    """All accounts of a server, each with what it stores."""
    from lanza.cli.api import call

    used = {row["namespace"]: row for row in call(chosen, "GET", "/api/lanza/usage")}
    rows = call(chosen, "GET", "/api/lanza/users")
    return [{**row, **_stored(used.get(row["name"], {}))} for row in rows]


def _stored(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {name: usage.get(name) for name in ("repositories", "stored_bytes", "limit_bytes")}


def set_account(chosen: Context, name: str, changes: Mapping[str, Any], *, as_json: bool) -> None:
    """Have a server change an account, and say so. UsageError when nothing is to change."""
    from lanza.cli.api import call
    from lanza.errors import UsageError

    if not changes:
        raise UsageError(f"nothing to change of {name}: name an option, as --quota 50GB.")
    changed = call(chosen, "PATCH", f"/api/lanza/users/{quote(name, safe='')}", dict(changes))
    typer.echo(json.dumps(changed, indent=2) if as_json else f"{name} is changed.")


def quota_bytes(text: str) -> int | None:
    """What `--quota` was given; None for the server's own limit. UsageError."""
    return None if text == "none" else size(text, "--quota")


def _password(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    typed: str = typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True)
    return typed
