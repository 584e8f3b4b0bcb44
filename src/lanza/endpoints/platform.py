"""Where replicas run, as the control plane sees it: something that starts processes and says how they are.

The model: an `Order` is everything that one replica needs; a platform starts it and from then on shows it as
a `Sight`, until it was gone and is forgotten. Nothing here waits: `start` and `stop` return when the wish is
noted, and the next `observe` tells what came of it. A platform knows no database and decides nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lanza.endpoints.states import Phase


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Hardware for one replica: what it is called, what it has, what it costs in US dollars per hour.

    `price_as_of` is the date of the price, as ISO has it.
    """

    vendor: str
    region: str
    accelerator: str
    type: str
    size: str
    architecture: str
    cpus: float
    memory_bytes: int
    accelerators: int = 0
    price_per_hour: float = 0.0
    price_as_of: str = ""

    @property
    def id(self) -> str:
        return f"{self.vendor}-{self.region}-{self.type}-{self.size}"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command of its own that speaks HTTP. `{port}` in its words stands for the port that it is given."""

    words: tuple[str, ...]
    port: int
    health_route: str

    @property
    def takes_any_port(self) -> bool:
        return any("{port}" in word for word in self.words)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One replica. `folder` holds the model, to be read only; `program` replaces Lanza's own replica.

    `environment` reaches the user's code (a handler, a program) and nobody else; the values of those that
    `secrets` names are shown nowhere, whatever prints them.
    `engine` and `task` are what the spec says, or None. Times are seconds.
    """

    id: str
    endpoint: str
    revision: int
    instance: Instance
    folder: Path | None = None
    task: str | None = None
    engine: str | None = None
    program: Program | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = frozenset()
    deadline: float = 60.0
    start_timeout: float = 600.0


@dataclass(frozen=True, kw_only=True)
class Sight:
    """How a replica is. `address` is `unix:/path` or `http://127.0.0.1:port`, once there is one.

    `reason` says why it is gone, with the last lines of its log when it ended by itself; `failed`, whether
    that speaks against what it runs: it never became ready, or ended by itself; `killed`, that it was by a
    SIGKILL before it was ready, of which nobody knows whether it was its own. `ended_at` is seconds since
    1970. `cpu` is the share of its cores that it uses, 0 to 1; memory in bytes. `progress` says what it does
    while it starts: "converting ...".
    """

    id: str
    phase: Phase
    address: str | None = None
    reason: str = ""
    failed: bool = False
    killed: bool = False
    ended_at: float | None = None
    cpu: float = 0.0
    memory: int = 0
    progress: str = ""


class Platform(Protocol):
    """A place to run replicas. One loop calls it, and no two calls for the same replica overlap."""

    name: str

    def listen(self, changed: Callable[[], None]) -> None:
        """From now on call `changed`, on this event loop, when `observe` may have news; for those who can.

        It saves waiting: whoever is interested looks now and then in any case.
        """
        ...

    def offers(self) -> Sequence[Instance]:
        """The hardware that there is, the smallest first, whether or not it is in use."""
        ...

    def check(self, instance: Instance, *, needs_bytes: int = 0) -> None:
        """NoRoom with the figures when one more does not fit now; BadRequest when it never will."""
        ...

    async def start(self, order: Order) -> None:
        """Begin. NoRoom as `check` has it. An order whose id runs already changes nothing."""
        ...

    async def observe(self) -> Mapping[str, Sight]:
        """All replicas that are not forgotten, those that an earlier server started included, by id."""
        ...

    async def stop(self, replica: str, *, drain: float) -> None:
        """No new requests; those under way get `drain` seconds. Unknown ids are gone already."""
        ...

    async def forget(self, replica: str) -> None:
        """Remove what is left of a replica that is gone, but for its log's end."""
        ...

    def logs(self, replica: str, *, follow: bool = False) -> AsyncIterator[str]:
        """The lines that are kept of what it has said, the oldest first; then, if asked, those that come."""
        ...

    def ended(self, endpoint: str) -> Sequence[str]:
        """Replicas of an endpoint (`namespace/name`) that are forgotten but for their logs, newest first."""
        ...

    async def close(self) -> None:
        """Let go of what is open here. Replicas go on for a while, for the next server to find."""
        ...
