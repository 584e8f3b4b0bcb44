"""A platform without processes: replicas are what a test says they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from lanza.endpoints.platform import Instance, Order, Sight
from lanza.endpoints.states import Phase
from lanza.errors import NoRoom

SMALL: Final = Instance(
    vendor="lanza",
    region="local",
    accelerator="cpu",
    type="cpu",
    size="x1",
    architecture="a test",
    cpus=1,
    memory_bytes=2**30,
    price_per_hour=3.6,  # a tenth of a cent each second
    price_as_of="2026-11-01",
)


@dataclass
class FakePlatform:
    """`room` is how many replicas fit; `instant` ones are ready when they are first seen."""

    room: int = 100
    instant: bool = False
    name: str = "local"
    orders: dict[str, Order] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)

    def listen(self, changed: Callable[[], None]) -> None:
        pass

    def offers(self) -> Sequence[Instance]:
        return (SMALL,)

    def check(self, instance: Instance, *, needs_bytes: int = 0) -> None:
        if len(self.running) >= self.room:
            raise NoRoom(f"{self.room} replicas fill this test.")

    @property
    def running(self) -> list[str]:
        return [name for name, sight in self.sights.items() if sight.phase is not Phase.GONE]

    async def start(self, order: Order) -> None:
        self.check(order.instance)
        self.orders[order.id] = order
        self.sights[order.id] = Sight(id=order.id, phase=Phase.STARTING)
        if self.instant:
            self.become_ready(order.id)

    async def observe(self) -> Mapping[str, Sight]:
        return dict(self.sights)

    async def stop(self, replica: str, *, drain: float) -> None:
        self.stopped.append(replica)
        self.end(replica, failed=False)

    async def forget(self, replica: str) -> None:
        self.sights.pop(replica, None)

    async def logs(self, replica: str, *, follow: bool = False) -> AsyncIterator[str]:
        yield f"{replica} has nothing to say"

    def ended(self, endpoint: str) -> Sequence[str]:
        return []

    async def close(self) -> None:
        pass

    # What tests do to replicas

    def become_ready(self, *replicas: str) -> None:
        for name in replicas or [it for it in self.running if self.sights[it].phase is Phase.STARTING]:
            self.sights[name] = replace(self.sights[name], phase=Phase.READY, address=f"unix:/run/{name}")

    def end(
        self, *replicas: str, failed: bool, reason: str = "", killed: bool = False, at: float | None = None
    ) -> None:
        for name in replicas or self.running:
            self.sights[name] = replace(
                self.sights[name],
                phase=Phase.GONE,
                address=None,
                failed=failed,
                killed=killed,
                reason=reason,
                ended_at=at,
            )
