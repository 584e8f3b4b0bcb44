"""What the gateway may use and how long it waits, as one value that is passed down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

Network = IPv4Network | IPv6Network

LOOPBACK: Final[Sequence[Network]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
REPLAYED: Final = 2**20
"""Bytes of a request that are kept, so that another replica can be asked, and of an answer that is held until
it is whole."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Bytes and seconds.

    `worker` names this process and `workers` says how many there are: each grants its share of what is
    limited by rate. `internal` are the networks that may call private endpoints. `routed_bytes` bounds a body
    that has to be read whole because it says which model is meant, `bodies_bytes` all bodies that are kept at
    once. `longest_hold` is how long a request waits for a replica at most, `client_timeout` how long a client
    may neither send what it announced nor read what it asked for.
    """

    worker: str = "worker"
    workers: int = 1
    internal: Sequence[Network] = LOOPBACK
    routed_bytes: int = 32 * 2**20
    bodies_bytes: int = 512 * 2**20
    most_held: int = 2000
    longest_hold: float = 600.0
    connect_timeout: float = 5.0
    client_timeout: float = 30.0
    cache_bytes: int = 64 * 2**20
