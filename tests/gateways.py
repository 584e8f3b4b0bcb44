"""A gateway over a real database and replicas that are what a test says: no sockets, no processes."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from auth_app import Clock
from fake_platform import SMALL
from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.auth.tokens import Authenticator
from lanza.database import Database, now
from lanza.endpoints import store
from lanza.endpoints.reading import read_spec
from lanza.endpoints.records import Endpoint, Replica
from lanza.endpoints.secrets import Vault
from lanza.endpoints.states import Intent, Phase, State
from lanza.gateway.connection import Answer, Broken
from lanza.gateway.gateway import Gateway
from lanza.gateway.settings import GatewaySettings

VAULT = Vault(b"k" * 32)


@dataclass
class Request:
    """What a replica got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What a replica says. `parts`: a stream of them; an exception among them breaks it there."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    parts: list[Any] | None = None


Behaviour = Callable[[Request], Awaitable[Reply]]


async def echo(request: Request) -> Reply:
    return Reply(body=json.dumps({"path": request.path, "body": request.body.decode()}).encode())


def dying(reason: str = "it ended in the middle of an answer", **more: Any) -> Behaviour:
    async def die(request: Request) -> Reply:
        raise Broken(reason, **more)

    return die


def saying(**what: Any) -> Behaviour:
    async def say(request: Request) -> Reply:
        return Reply(**what)

    return say


class FakeConnections:
    """To one replica, by its behaviour. It has what the gateway asks of `Connections`."""

    host = b"localhost"
    kept = 0

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address
        self.closed = False

    async def take(self) -> FakeConnection:
        if self.address not in self.network.behaviours:
            raise Broken("nobody listens", reached=False)
        return FakeConnection(self)

    def give_back(self, connection: FakeConnection) -> None:
        connection.given_back = True

    def sweep(self) -> None:
        pass

    def drop_idle(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    def __init__(self, connections: FakeConnections) -> None:
        self.connections = connections
        self.given_back = self.aborted = self.broken = False
        self.parts: deque[Any] = deque()

    async def ask(self, request: bytes, *, bodiless: bool = False) -> Answer:
        network = self.connections.network
        network.requests.append(got := _parsed(request))
        network.asked.append(self.connections.address)
        try:
            reply = await network.behaviours[self.connections.address](got)
        except asyncio.CancelledError:
            network.cancelled.append(self.connections.address)
            raise
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        answer = Answer(self, reply.status, headers)  # type: ignore[arg-type]
        if reply.parts is None:
            answer.whole, answer.body = True, b"" if bodiless else reply.body
        else:
            self.parts = deque(reply.parts)
        return answer

    async def chunk(self) -> bytes | None:
        if not self.parts:
            return None
        part = self.parts.popleft()
        if isinstance(part, Exception):
            self.broken = True
            raise part
        if callable(part):
            part = await part()
        return part  # type: ignore[no-any-return]

    def abort(self) -> None:
        self.aborted = True


def _parsed(request: bytes) -> Request:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    return Request(method, path, dict(line.split(": ", 1) for line in lines), body)


@dataclass
class Network:
    """Who listens where, and what was asked."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)


@dataclass
class Reached:
    """What a client got. `complete`: the answer came to its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass
class GatewayWorld:
    """Accounts, endpoints and replicas in a database, and a gateway in front of them."""

    database: Database
    network: Network = field(default_factory=Network)
    clock: Clock = field(default_factory=Clock)
    settings: GatewaySettings = field(default_factory=GatewaySettings)
    nudges: list[None] = field(default_factory=list)
    serverless: Any = None
    sockets: bool = False
    on_part: Any = None
    gateway: Gateway = field(init=False)
    registry: CollectorRegistry = field(init=False)

    @property
    def metrics(self) -> str:
        """What the gateway has counted, as Prometheus reads it."""
        return generate_latest(self.registry).decode()

    # What is there

    def user(self, name: str, role: Role = Role.WRITE, *, token: str = "test", **more: Any) -> str:
        """A token of a user, who is made if need be."""
        with self.database.writing() as session:
            account = accounts.find(session, name) or accounts.create_user(session, name, password=None)
            return tokens.issue(session, account, name=token, role=role, **more)[1]

    def endpoint(
        self, key: str = "ana/becas", *, replicas: int = 1, asleep: bool = False, **spec: Any
    ) -> int:
        """An endpoint that runs, or sleeps. Its replicas echo."""
        namespace, name = key.split("/")
        tree = {"name": name, "model": {"repository": key}, **spec}
        with self.database.writing() as session:
            owner = accounts.find(session, namespace) or accounts.create_user(
                session, namespace, password=None
            )
            making = store.Making(
                spec=read_spec(tree), instance=SMALL, repo_id=1, commit="c" * 40, secrets={}
            )
            endpoint = store.create(session, VAULT, owner, making, by=namespace)
            endpoint.state = State.RUNNING.value
            if asleep:
                endpoint.intent, endpoint.state = Intent.ZERO.value, State.SCALED_TO_ZERO.value
            number = endpoint.id
        for _ in range(0 if asleep else replicas):
            self.replica(key)
        return number

    def replica(self, key: str, behaviour: Behaviour = echo, *, address: str = "") -> str:
        """One more ready replica; gives its address."""
        with self.database.writing() as session:
            endpoint = store.get(session, *key.split("/"))
            count = len(store.replicas(session, endpoint))
            name = f"{endpoint.name}-{count}-{len(self.network.behaviours)}"
            address = address or f"unix:/run/{name}"
            moment = now()
            session.add(
                Replica(
                    id=name,
                    endpoint_id=endpoint.id,
                    revision=endpoint.revision,
                    platform="local",
                    phase=Phase.READY.value,
                    address=address,
                    price_per_hour=0.0,
                    started_at=moment,
                    ready_at=moment,
                    accounted_at=moment,
                )
            )
        self.network.behaviours[address] = behaviour
        return address

    def act(self, how: Callable[[Any, Endpoint], Any], key: str = "ana/becas") -> None:
        """Change an endpoint as the control plane does."""
        with self.database.writing() as session:
            endpoint = store.get(session, *key.split("/"))
            how(session, endpoint)
            number = endpoint.id
        self.gateway.table.changed(number)

    def behave(self, *behaviours: Behaviour, key: str = "ana/becas") -> list[str]:
        """Give each of these a replica."""
        return [self.replica(key, one) for one in behaviours]

    # What is asked

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        self.registry = CollectorRegistry()
        self.gateway = Gateway(
            behind,
            database=self.database,
            authenticator=Authenticator(self.database, clock=self.clock),
            settings=self.settings,
            nudge=lambda: self.nudges.append(None),
            registry=self.registry,
            serverless=self.serverless,
            connect=None if self.sockets else self._connect,
        )
        await self.gateway.start()
        try:
            yield self.gateway
        finally:
            await self.gateway.close()

    def _connect(self, address: str) -> Any:
        return FakeConnections(self.network, address)

    def ask(self, path: str = "/endpoints/ana/becas", token: str = "", **more: Any) -> Reached:
        """One request to a gateway of its own."""

        async def one() -> Reached:
            async with self.running():
                return await self.call(path, token, **more)

        return asyncio.run(one())

    async def call(
        self,
        path: str = "/endpoints/ana/becas",
        token: str = "",
        *,
        method: str = "POST",
        body: Any = b"{}",
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
        gone: asyncio.Event | None = None,
    ) -> Reached:
        """`gone`: the client leaves when it is set. `body`: bytes, a list of parts, or what is to be JSON."""
        raw, _, query = path.partition("?")
        parts = (
            body
            if isinstance(body, list)
            else [body if isinstance(body, bytes) else json.dumps(body).encode()]
        )
        given = {"host": "hub.test:8420", **{name.lower(): value for name, value in (headers or {}).items()}}
        if not isinstance(body, list):
            given.setdefault("content-length", str(len(parts[0])))
        if token:
            given["authorization"] = f"Bearer {token}"
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw,
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": (client, 1),
            "state": {},
        }
        coming = deque(parts)
        left = gone or asyncio.Event()
        reached = Reached()

        async def receive() -> Any:
            if coming:
                part = coming.popleft()
                if part is None:  # the client falls silent
                    await asyncio.Event().wait()
                return {"type": "http.request", "body": part, "more_body": bool(coming)}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                reached.status = message["status"]
                reached.headers = {
                    name.decode(): value.decode("latin-1") for name, value in message["headers"]
                }
            else:
                reached.parts.append(message["body"])
                if self.on_part is not None and (waiting := self.on_part(message["body"])) is not None:
                    await waiting
                reached.complete = not message.get("more_body", False)

        await self.gateway(scope, receive, send)
        return reached


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """The application behind the gateway."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the Hub"})
