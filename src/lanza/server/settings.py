"""What `lanza up` was asked for, as one value that is passed down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from lanza.errors import BadRequest, UsageError
from lanza.gateway.settings import LOOPBACK, Network
from lanza.hub.hub import HubLimits
from lanza.hub.policy import checked_kinds

PUBLIC_HUB: Final = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """`data` is the folder of all that the server keeps; `database` and `storage` are URLs of other places.

    `proxies` are the networks whose X-Forwarded headers are believed. `upstream` is the hub that is asked
    for models which are unknown here, or None. `refused` are kinds of findings that no push may bring.
    What nobody needs is removed about every `collect_every`, or never with None. `drain` is how many seconds
    the last requests get.

    `workers` processes take requests. `endpoints` says whether there are any. `rehearse`: hardware that is
    not here is replaced by this machine; `commands` are programs that endpoints of anybody may run;
    `internal` are the networks that private endpoints may be called from. Without `isolation`, what cannot be
    confined is run all the same. `cores` is how many of this machine's replicas may use, or None for all;
    `hidden` are folders that they must not see. `webhooks_to` are internal networks where webhooks may go.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8420
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: Sequence[Network] = ()
    database: str | None = None
    storage: str | None = None
    upstream: str | None = PUBLIC_HUB
    limits: HubLimits = field(default_factory=HubLimits)
    refused: frozenset[str] = frozenset()
    collect_every: timedelta | None = timedelta(days=1)
    drain: float = 30
    workers: int = 1
    endpoints: bool = True
    rehearse: bool = False
    commands: Sequence[str] = ()
    internal: Sequence[Network] = LOOPBACK
    isolation: bool = True
    cores: int | None = None
    hidden: Sequence[Path] = ()
    webhooks_to: Sequence[Network] = ()

    def __post_init__(self) -> None:
        if self.workers > 1 and sys.platform == "win32":
            raise UsageError("--workers needs sockets that Windows does not have: leave it out there.")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("TLS needs both: --tls-cert CHAIN.pem --tls-key KEY.pem.")
        for path in (self.tls_cert, self.tls_key):
            if path is not None and not path.is_file():
                raise UsageError(f"there is no file {path}: check --tls-cert and --tls-key.")
        if self.upstream is not None and not self.upstream.startswith(("https://", "http://")):
            raise UsageError(f"--upstream wants a hub's address, like {PUBLIC_HUB}: not {self.upstream!r}.")

    @property
    def scheme(self) -> str:
        return "http" if self.tls_cert is None else "https"

    @property
    def exposed(self) -> bool:
        """Whether tokens may travel over a network in the clear."""
        return self.tls_cert is None and not self.proxies and not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`. A name that is no address counts as reachable by others."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def networks(given: Sequence[str], option: str = "--behind-proxy") -> tuple[Network, ...]:
    """`10.0.0.0/8` or single addresses, as networks. UsageError."""
    try:
        return tuple(ip_network(one) for one in given)
    except ValueError as error:
        raise UsageError(f"{option} wants a network like 10.0.0.0/8: {error}.") from error


def kinds(given: str | None) -> frozenset[str]:
    """`pickle,secret`, as kinds of findings. UsageError."""
    try:
        return checked_kinds(one.strip() for one in (given or "").split(",") if one.strip())
    except BadRequest as error:
        raise UsageError(f"--refuse: {error}") from error
