"""Which server a command talks to, and as whom.

The model: the first that is given of `--server`, `LANZA_URL`, `HF_ENDPOINT` and what `lanza login` stored. A
token is sent only to the server that it is for: `LANZA_TOKEN` to whichever was chosen by hand, `HF_TOKEN` to
the address in `HF_ENDPOINT`, a stored one to the address that it was stored for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import typer

from lanza.errors import UsageError
from lanza.settings import Settings

ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="The server; else that of `lanza login`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@dataclass(frozen=True, kw_only=True)
class Context:
    """A server's address, without a slash at its end, and the token to send there."""

    url: str
    token: str | None = None

    @property
    def is_local(self) -> bool:
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def authority(self) -> str:
        return urlsplit(self.url).netloc


class Logins:
    """What `lanza login` keeps, in a file for its owner's eyes only: a token for each server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._kept = {"current": None, "tokens": {}}
        except ValueError as error:
            raise UsageError(f"{path} is damaged: remove it and log in again.") from error

    @property
    def current(self) -> str | None:
        """The server of the last login."""
        url: str | None = self._kept["current"]
        return url

    def token(self, url: str) -> str | None:
        found: str | None = self._kept["tokens"].get(url)
        return found

    def add(self, url: str, token: str) -> None:
        self._kept["current"] = url
        self._kept["tokens"][url] = token
        self._write()

    def remove(self, url: str) -> bool:
        """Whether there was a login there."""
        found = self._kept["tokens"].pop(url, None) is not None
        if self.current == url:
            self._kept["current"] = next(iter(self._kept["tokens"]), None)
        self._write()
        return found

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self._kept, file)
        aside.replace(self.path)


def logins(settings: Settings) -> Logins:
    return Logins(settings.home / "logins.json")


def context(server: str | None, environment: Mapping[str, str] | None = None) -> Context:
    """The server for a command that was given `--server SERVER`. UsageError when there is none."""
    environment = os.environ if environment is None else environment
    kept = logins(Settings.read(environment))
    chosen = server or environment.get("LANZA_URL") or environment.get("HF_ENDPOINT") or kept.current
    if not chosen:
        raise UsageError("no server is known here: `lanza login URL`, or name one with --server URL.")
    url = clean_url(chosen)
    token = environment.get("LANZA_TOKEN")
    if not token and (endpoint := environment.get("HF_ENDPOINT")) and clean_url(endpoint) == url:
        token = environment.get("HF_TOKEN")
    return Context(url=url, token=token or kept.token(url))


def clean_url(given: str) -> str:
    """`given` as it is compared and stored. UsageError for what is no server's address."""
    parts = urlsplit(given.strip())
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UsageError(f"{given!r} is no server's address: write http://HOST:PORT or https://HOST.")
    if parts.username is not None or parts.password is not None:
        raise UsageError("leave names and secrets out of the address: `lanza login URL` asks for them.")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), "", ""))
