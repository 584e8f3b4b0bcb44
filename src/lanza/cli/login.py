"""`lanza login URL` and `lanza logout`: which server the commands here talk to, and with which token."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lanza.cli.context import Context, clean_url, context, logins


def login(
    url: Annotated[str, typer.Argument(help="The server's address, like http://127.0.0.1:8420.")],
) -> None:
    """Keep a token for a server, and use that server from now on.

    The token is asked for, or read from standard input; it never stands in the command line.
    """
    from lanza.cli.api import call
    from lanza.errors import UsageError
    from lanza.settings import Settings

    address = clean_url(url)
    token = _ask(address)
    if not token:
        raise UsageError("no token was given: make one with `lanza tokens create`, or ask the administrator.")
    logged_in = Context(url=address, token=token)
    who = call(logged_in, "GET", "/api/whoami-v2")
    logins(Settings.read()).add(address, token)
    used = who.get("auth", {}).get("accessToken", {})
    print(f"Logged in to {address} as {who['name']} (token {used.get('displayName')}, {used.get('role')}).")
    if address.startswith("http://") and not logged_in.is_local:
        print("lanza: nothing is encrypted on the way there: others may read the token.", file=sys.stderr)


def logout(
    url: Annotated[str | None, typer.Argument(help="The server's address; else the one in use.")] = None,
) -> None:
    """Forget the token that was kept for a server. The token itself stays valid until it is revoked."""
    from lanza.errors import UsageError
    from lanza.settings import Settings

    address = clean_url(url) if url else context(None).url
    if not logins(Settings.read()).remove(address):
        raise UsageError(f"there is no login for {address} here.")
    print(f"Logged out from {address}.")


def _ask(address: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    import getpass

    return getpass.getpass(f"Token for {address} (input will not be visible): ").strip()
