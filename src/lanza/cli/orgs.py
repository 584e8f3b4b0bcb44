"""`lanza orgs`: organizations of the server in use. Who belongs to one is also for its own administrators."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from lanza.cli.context import JsonOption, ServerOption, context
from lanza.cli.sure import be_sure
from lanza.cli.users import QuotaOption, accounts, quota_bytes, set_account

orgs = typer.Typer(no_args_is_help=True)

OrgArgument = Annotated[str, typer.Argument(help="The organization's name.")]
UserArgument = Annotated[str, typer.Argument(help="The user's name.")]


class MemberRole(StrEnum):
    """What a member may do with what the organization has."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@orgs.callback()
def _verbs() -> None:
    """Organizations: namespaces that several users share."""


@orgs.command()
def add(
    name: Annotated[str, typer.Argument(help="The organization's name, and namespace.")],
    owner: Annotated[str | None, typer.Option(help="Its first administrator; else you.")] = None,
    full_name: Annotated[str, typer.Option(help="The name as people say it.")] = "",
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an organization."""
    from lanza.cli.api import call

    chosen = context(server)
    wanted = {"name": name, "owner": owner, "full_name": full_name}
    made = call(chosen, "POST", "/api/lanza/orgs", wanted)
    typer.echo(json.dumps(made, indent=2) if as_json else f"{name} is an organization of {chosen.url}.")


@orgs.command()
def ls(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List organizations, with what they store in bytes, and what they may."""
    from lanza.cli.table import show

    kept = ("name", "full_name", "repositories", "stored_bytes", "limit_bytes", "created_at")
    found = [row for row in accounts(context(server)) if row["kind"] == "org"]
    show([{name: row[name] for name in kept} for row in found], as_json=as_json)


@orgs.command(name="set")
def change(
    name: OrgArgument,
    quota: QuotaOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what an organization may store."""
    changes = {} if quota is None else {"quota_bytes": quota_bytes(quota)}
    set_account(context(server), name, changes, as_json=as_json)


@orgs.command()
def rm(
    name: OrgArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: ServerOption = None,
) -> None:
    """Remove an organization, with its repositories. Its members stay."""
    from lanza.cli.api import call

    chosen = context(server)
    be_sure(f"Remove {name} from {chosen.url}, with all repositories?", yes=yes)
    call(chosen, "DELETE", f"/api/lanza/orgs/{quote(name, safe='')}")
    typer.echo(f"{name} is removed.")


@orgs.command()
def members(name: OrgArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """List who belongs to an organization, and as what."""
    from lanza.cli.api import call
    from lanza.cli.table import show

    found = call(context(server), "GET", f"/api/organizations/{quote(name, safe='')}/members")
    show([{"name": row["user"], "role": row["role"]} for row in found], as_json=as_json)


@orgs.command()
def join(
    name: OrgArgument,
    user: UserArgument,
    role: Annotated[MemberRole, typer.Option(help="What they may do there.")] = MemberRole.READ,
    server: ServerOption = None,
) -> None:
    """Make a user a member, or change what a member may do."""
    from lanza.cli.api import call

    call(context(server), "PUT", _member(name, user), {"role": role.value})
    typer.echo(f"{user} belongs to {name}, with the role {role.value}.")


@orgs.command()
def leave(name: OrgArgument, user: UserArgument, server: ServerOption = None) -> None:
    """Make a user no member any more."""
    from lanza.cli.api import call

    call(context(server), "DELETE", _member(name, user))
    typer.echo(f"{user} does not belong to {name}.")


def _member(org: str, user: str) -> str:
    return f"/api/lanza/orgs/{quote(org, safe='')}/members/{quote(user, safe='')}"
