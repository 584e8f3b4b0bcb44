"""Which endpoint a command means, and calls to what the server knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import typer

from lanza.cli.context import Context, context

EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="namespace/name, or a name in your own namespace.")
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Whose; else your own.")
]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint on a server. It need not exist."""

    server: Context
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def get(self) -> Any:
        return self.ask("GET")

    def ask(self, method: str, verb: str = "", body: Any = None) -> Any:
        """What Hugging Face's API says."""
        from lanza.cli.api import call

        path = f"/v2/endpoint/{quote(self.namespace, safe='')}/{quote(self.name, safe='')}"
        return call(self.server, method, f"{path}/{verb}" if verb else path, body)

    def ours(self, method: str, what: str, body: Any = None) -> Any:
        """What only Lanza's API says."""
        from lanza.cli.api import call

        return call(self.server, method, self.path_of(what), body)

    def path_of(self, what: str) -> str:
        names = f"{quote(self.namespace, safe='')}/{quote(self.name, safe='')}"
        return f"/api/lanza/endpoints/{names}/{what}"


def endpoint_of(given: str, server: str | None) -> Endpoint:
    """What `given` means on the server in use. UsageError."""
    from lanza.errors import UsageError

    chosen = context(server)
    namespace, slash, name = given.rpartition("/")
    if not name or "/" in namespace or (slash and not namespace):
        raise UsageError(f"{given!r} is no endpoint: write namespace/name, or a name in your own namespace.")
    return Endpoint(server=chosen, namespace=namespace or own_namespace(chosen), name=name)


def own_namespace(server: Context) -> str:
    from lanza.cli.api import call

    name: str = call(server, "GET", "/api/whoami-v2")["name"]
    return name


def row_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """A line of `lanza ps`."""
    status, compute = one["status"], one["compute"]
    hardware = " ".join(filter(None, (compute.get("instanceType"), compute.get("instanceSize"))))
    return {
        "endpoint": one["name"],
        "state": status["state"],
        "ready": f"{status.get('readyReplica', 0)}/{status.get('targetReplica', 0)}",
        "model": one["model"]["repository"],
        "hardware": hardware,
        "type": one["type"],
        "message": (status.get("message") or "").partition("\n")[0],
    }
