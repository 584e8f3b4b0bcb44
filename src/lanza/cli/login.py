"""`lanza login URL` and `lanza logout`: which server the commands here talk to, and with which token."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from lanza.cli.context import Context, clean_url, context, logins

CLIENT: Final = "lanza"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


def login(
    url: Annotated[str, typer.Argument(help="The server's address, like http://127.0.0.1:8420.")],
    browser: Annotated[
        bool, typer.Option("--browser", help="Log in on a page of the server, with name and password.")
    ] = False,
) -> None:
    """Keep a token for a server, and use that server from now on.

    The token is asked for, or read from standard input; it never stands in the command line.
    """
    from lanza.cli.api import call
    from lanza.errors import UsageError
    from lanza.settings import Settings

    address = clean_url(url)
    token = _by_browser(Context(url=address)) if browser else _ask(address)
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


def _by_browser(server: Context) -> str:
    """A token that was allowed on a page of the server (OAuth's device flow, RFC 8628)."""
    import time

    from lanza.cli.api import call
    from lanza.errors import BadRequest

    asked = call(server, "POST", "/oauth/device", form={"client_id": CLIENT})
    print(f"Open {asked.get('verification_uri_complete', asked['verification_uri'])}")
    print(f"and enter the code {asked['user_code']}", flush=True)
    interval = float(asked.get("interval", 5))
    wanted = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"], "client_id": CLIENT}
    while True:
        time.sleep(interval)
        try:
            token: str = call(server, "POST", "/oauth/token", form=wanted)["access_token"]
        except BadRequest as error:
            if error.message not in ("authorization_pending", "slow_down"):
                raise
            interval += 5 * (error.message == "slow_down")
        else:
            return token
