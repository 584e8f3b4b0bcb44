"""A small world for the loop: a database, a clock, a platform without processes, one owner."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auth_app import Clock
from fake_platform import SMALL, FakePlatform
from lanza.auth import accounts
from lanza.database import Database
from lanza.endpoints import loads, store
from lanza.endpoints.notices import Notice
from lanza.endpoints.orders import Stock
from lanza.endpoints.plan import FolderKey, Folders, Plan
from lanza.endpoints.reading import read_spec
from lanza.endpoints.records import Endpoint, Replica
from lanza.endpoints.secrets import Vault
from lanza.endpoints.settle import Settler
from lanza.endpoints.spec import EndpointSpec
from lanza.errors import NoRoom

EPOCH = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


class ReadyFolders(Folders):
    """Every folder is there, but for those of `missing` commits, whose errors a test gives."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.requested: list[str] = []

    def request(self, key: FolderKey) -> None:
        self.requested.append(key[1])
        self.ready[key] = Stock(folder=self.folder)


def spec_tree(**changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": "becas", "model": {"repository": "ana/becas"}}
    return {**tree, **changes}


@dataclass
class World:
    """One endpoint after another; `pass_time` looks once a second."""

    database: Database
    folders: ReadyFolders
    clock: Clock = field(default_factory=lambda: Clock(EPOCH))
    platform: FakePlatform = field(default_factory=lambda: FakePlatform(instant=True))
    vault: Vault = field(default_factory=lambda: Vault(b"k" * 32))
    notices: list[Notice] = field(default_factory=list)
    set_by: float = 0.0

    def __post_init__(self) -> None:
        self.settler = Settler(
            database=self.database,
            vault=self.vault,
            folders=self.folders,
            clock=self.clock,
            steady=lambda: self.clock.now - self.set_by,
        )
        with self.database.writing() as session:
            accounts.create_user(session, "ana", password=None)

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now, UTC)

    def making(self, spec: EndpointSpec, **more: Any) -> store.Making:
        return store.Making(
            **{"spec": spec, "instance": SMALL, "repo_id": 1, "commit": "c" * 40, "secrets": {}, **more}
        )

    def create(self, **changes: Any) -> None:
        with self.database.writing() as session:
            owner = accounts.get(session, "ana")
            endpoint = store.create(
                session, self.vault, owner, self.making(read_spec(spec_tree(**changes))), by="ana"
            )
            endpoint.created_at = self.moment

    def change(self, commit: str = "c" * 40, **changes: Any) -> bool:
        with self.database.writing() as session:
            endpoint = store.get(session, "ana", "becas")
            making = self.making(read_spec(spec_tree(**changes)), commit=commit)
            return store.change(session, self.vault, endpoint, making, by="ana")

    def act(self, how: Any) -> Any:
        """`how(session, endpoint)` in a transaction, as the API does it."""
        with self.database.writing() as session:
            return how(session, store.get(session, "ana", "becas"))

    def ask(self, in_flight: int = 0, held: int = 0) -> None:
        """What a worker of the gateway says."""
        with self.database.writing() as session:
            number = store.get(session, "ana", "becas").id
            pending = {number: loads.Pending(in_flight=in_flight, held=held)}
            loads.report(session, "w1", pending, {number: self.moment}, self.moment)

    def mark(self, *replicas: str, broke: bool) -> None:
        """What a worker says of replicas: that they were asked, or broke off an answer."""
        with self.database.writing() as session:
            store.note_asked(session, replicas, replicas if broke else (), self.moment)

    def look(self) -> Plan:
        plan = self.settler.settle(dict(self.platform.sights))
        self.notices += plan.notices
        asyncio.run(self._act(plan))
        return plan

    async def _act(self, plan: Plan) -> None:
        for replica in plan.stop:
            await self.platform.stop(replica, drain=0)
        for replica in plan.forget:
            await self.platform.forget(replica)
        for _, order in plan.start:
            try:
                await self.platform.start(order)
            except NoRoom as error:
                self.settler.refused(order, str(error))

    def set_clock(self, seconds: float) -> None:
        """Forward, or back: nothing passes but by the clock."""
        self.clock.now += seconds
        self.set_by += seconds

    def pass_time(self, seconds: int, *, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.look()
            self.clock.now += step

    @property
    def endpoint(self) -> Endpoint:
        with self.database.reading() as session:
            return store.get(session, "ana", "becas")

    @property
    def replicas(self) -> list[Replica]:
        with self.database.reading() as session:
            found = store.find(session, "ana", "becas")
            return [] if found is None else list(store.replicas(session, found))
