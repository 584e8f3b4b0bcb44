"""A replica as an ASGI application: its life from loading to drained, and its routes.

It listens before its model is loaded, so that `/health` can say so (503). Routes of the model appear when it
is there. What the model serves is a `Service`, chosen by what its engine can do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from lanza import __version__, engines
from lanza.engines.base import BatchEngine, EngineOptions, GenerationEngine, HandlerEngine
from lanza.errors import LanzaError, MethodNotAllowed, ModelError, NotFound, Unavailable
from lanza.models.facts import read_facts
from lanza.protocols import huggingface
from lanza.replica.documentation import openapi, page
from lanza.replica.http import (
    Budget,
    Exchange,
    Headers,
    Receive,
    Route,
    Routes,
    Scope,
    Send,
    header_text,
    supervise,
)
from lanza.replica.metrics import Metrics
from lanza.replica.origin import cross_site
from lanza.replica.spec import LOOPBACK, ReplicaSpec
from lanza.tasks import Task, find_task

BODIES_BYTES: Final = 512 * 2**20
"""All bodies that are in memory at once, at most, or twice the largest one where that is more."""
_OF_THIS_MOMENT: Final[Headers] = [(b"cache-control", b"no-store")]
"""Of answers that are true only now, so that nothing on their way gives them again."""


class State(StrEnum):
    LOADING = "loading"
    READY = "ready"


class Service(Protocol):
    """What serves one kind of engine."""

    routes: Routes

    @property
    def waiting(self) -> int: ...
    @property
    def running(self) -> int: ...
    async def close(self) -> None: ...


class Replica:
    """One model being served. Call `start` once, `stop` once; in between it is an ASGI application."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self.spec = spec
        self.state = State.LOADING
        self.port = spec.port
        self._service: Service | None = None
        self._engine: Any = None
        self.task: Task | None = find_task(spec.task) if spec.task else None
        self._always: Headers = [(b"x-content-type-options", b"nosniff")]
        self.metrics = Metrics(waiting=lambda: self._load("waiting"), running=lambda: self._load("running"))
        self._routes = self._operations()
        self._budget = Budget(max(BODIES_BYTES, 2 * spec.limits.body_bytes))
        # Only a loopback address is safe for its being out of reach; others have their own guards.
        self._hosts = (*LOOPBACK, *spec.hosts) if spec.host in LOOPBACK else None

    def _load(self, name: str) -> int:
        return getattr(self._service, name) if self._service else 0

    def _operations(self) -> Routes:
        endpoints = {
            "/": self._home,
            "/health": self._health,
            "/info": self._info,
            "/metrics": self._metrics,
            "/docs": self._docs,
            "/openapi.json": self._openapi,
        }
        return {
            path: {"GET": Route(endpoint, huggingface.encode_error)} for path, endpoint in endpoints.items()
        }

    async def start(self) -> None:
        """Load the model and take requests. Raises ModelError and its kind."""
        started = time.perf_counter()
        spec = self.spec
        self._engine = await _on_daemon_thread(lambda: _load_engine(spec, self.task))
        if isinstance(self._engine, HandlerEngine):
            await self._engine.start()
        self._service = make_service(self._engine, self.task, spec, self.metrics)
        self._always += [
            (b"x-lanza-engine", self._engine.about.engine.encode()),
            (b"x-lanza-engine-reason", header_text(self._engine.about.why)),
        ]
        for path, methods in self._service.routes.items():
            self._routes[path] = {**self._routes.get(path, {}), **methods}
        self.metrics.cold_start.set(time.perf_counter() - started)
        self.state = State.READY

    async def stop(self) -> None:
        """Answer what waits, then free the model."""
        if self._service is not None:
            await self._service.close()
        if self._engine is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._engine.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "served with lifespan and websockets off"
        exchange = Exchange(scope, receive, send, always=self._always, budget=self._budget)
        route = self._find(scope["path"], scope["method"])
        if refused := cross_site(exchange, self._hosts):
            route = self._refusal(scope["path"], refused)
        try:
            await supervise(exchange, route.endpoint, route.render)
        finally:
            exchange.close()
        self.metrics.request(exchange.status, time.perf_counter() - exchange.started)

    def _find(self, path: str, method: str) -> Route:
        methods = self._routes.get(path)
        if methods is not None:
            route = methods.get("GET" if method == "HEAD" else method)
            if route is not None:
                return route
        if self.state is State.LOADING:
            return self._refusal(path, Unavailable("the model is being loaded: try again in a moment."))
        if methods is None:
            known = ", ".join(sorted(self._routes))
            return self._refusal(
                path, NotFound(f"there is nothing at {path}; there is something at {known}.")
            )
        taken = " and ".join(sorted(methods))
        return self._refusal(path, MethodNotAllowed(f"{path} takes {taken}, not {method}."))

    def _refusal(self, path: str, error: LanzaError) -> Route:
        """A route that raises `error`, written as the protocol of `path` has it."""

        async def refuse(exchange: Exchange) -> None:
            raise error

        if not path.startswith("/v1/"):
            return Route(refuse, huggingface.encode_error)
        from lanza.protocols import openai

        return Route(refuse, openai.encode_error)

    async def _home(self, exchange: Exchange) -> None:
        """People get the page, load balancers the health."""
        await (self._docs if "text/html" in exchange.header(b"accept") else self._health)(exchange)

    async def _health(self, exchange: Exchange) -> None:
        body = {"status": self.state, "waiting": self._load("waiting"), "running": self._load("running")}
        status = 200 if self.state is State.READY else 503
        await exchange.answer(huggingface.encode(body), status=status, headers=_OF_THIS_MOMENT)

    async def _info(self, exchange: Exchange) -> None:
        await exchange.answer(huggingface.encode(self.info()), headers=_OF_THIS_MOMENT)

    def info(self) -> Mapping[str, Any]:
        """What `/info` says: the model, and which engine answers and why."""
        about: Mapping[str, Any] = {}
        if self._engine is not None:
            facts = self._engine.about
            about = {
                "engine": facts.engine,
                "why": facts.why,
                "task": facts.task,
                "device": facts.device,
                "dtype": facts.dtype,
                "max_tokens": facts.limit,
                **facts.details,
            }
        return {"model": self.spec.name, "state": self.state, "lanza": __version__, **about}

    async def _metrics(self, exchange: Exchange) -> None:
        await exchange.answer(self.metrics.render(), kind=Metrics.content_type, headers=_OF_THIS_MOMENT)

    async def _openapi(self, exchange: Exchange) -> None:
        await exchange.answer(huggingface.encode(openapi(self.info(), self.task, self._routes)))

    async def _docs(self, exchange: Exchange) -> None:
        html = page(self.info(), self.task, self._routes)
        await exchange.answer(html.encode(), kind=b"text/html; charset=utf-8")


async def _on_daemon_thread(work: Callable[[], Any]) -> Any:
    """`work()` on a thread that does not keep the process alive: loading cannot be interrupted."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(result)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 -- handed to whoever awaits
            failure = error
        with suppress(RuntimeError):  # the loop has ended: nobody awaits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="lanza-load", daemon=True).start()
    return await done


def _load_engine(spec: ReplicaSpec, task: Task | None) -> Any:
    facts = read_facts(Path(spec.folder))
    if task is not None:
        facts = replace(facts, task=task.name)
    return engines.load(
        spec.engine,
        EngineOptions(
            facts=facts,
            task=task,
            why=spec.why,
            threads=spec.threads,
            environment=spec.environment,
            home=Path(spec.home),
            graph=Path(spec.graph) if spec.graph else None,
        ),
    )


def make_service(engine: Any, task: Task | None, spec: ReplicaSpec, metrics: Metrics) -> Service:
    """The service for what the engine can do."""
    if isinstance(engine, HandlerEngine):
        from lanza.replica.handlers import HandlerService

        return HandlerService(engine, spec.limits)
    if isinstance(engine, GenerationEngine):
        from lanza.replica.generation import GenerationService

        return GenerationService(engine, spec, metrics)
    if isinstance(engine, BatchEngine) and task is not None:
        from lanza.replica.tasks import TaskService

        return TaskService(engine, task, spec.limits, metrics)
    raise ModelError(f"engine {spec.engine} serves nothing that this replica knows how to ask for.")
