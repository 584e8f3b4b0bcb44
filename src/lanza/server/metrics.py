"""What the server counts, in Prometheus' terms.

The model: `Counted` is the outermost wrapper of the application. It sees every request with the peer's real
address, counts the bytes of both bodies as they pass, and names a request by the template of its route, never
by its path: what clients can make up is no label. What there is (repositories, replicas) is asked of the
database when somebody asks for `/metrics`.

Several workers of one server count in files, in a folder that they share (prometheus_client's "multiprocess
mode"), so that each of them can tell of all. A worker has the files of the one whose place it has taken, and
counts on in them: what is counted is not lost when a process is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanza.gateway.metrics import MOST
from lanza.gateway.settings import Network
from lanza.hub.holdings import Holdings

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
FRESH_SECONDS: Final = 30.0
"""How long what the Hub holds counts as known."""

LARGE: Final = 2**20
"""Bytes of a body from which on it is an upload under way."""

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_HELD: Final = {
    "blobs": "Large files, each content once",
    "stored_bytes": "Bytes of large files, each content once",
    "logical_bytes": "Bytes of large files, for each repository that has them",
    "begun_uploads": "Uploads in parts that have begun and are not complete",
}
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE: Final = "none"
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Metrics:
    """Counters of requests in `registry`, where others may count too. May be used by many threads.

    `holdings` and `replicas` (numbers by endpoint and phase) are asked when somebody wants to know.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        holdings: Callable[[], Holdings],
        replicas: Callable[[], Mapping[tuple[str, str], int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        by = ["method", "route"]
        self._requests = Counter("lanza_requests", "Requests answered", [*by, "status"], registry=registry)
        self._seconds = Histogram(
            "lanza_request_seconds", "Time to the end of the answer", by, buckets=_SECONDS, registry=registry
        )
        bodies = Counter("lanza_body_bytes", "Bytes of bodies that came and went", ["way"], registry=registry)
        self.came, self.went = bodies.labels("in"), bodies.labels("out")
        self.running = Gauge(
            "lanza_requests_running",
            "Requests not answered to the end",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.uploads = Gauge(
            "lanza_uploads_running",
            "Bodies over 1 MiB that are coming in",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._told = _of_all_workers() or registry
        self._told.register(_Present(holdings, replicas, clock))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads, of all workers. Asks the database, so it is for a thread."""
        return generate_latest(self._told)


class _Present(Collector):
    """What there is, by the database: the same whichever worker is asked."""

    def __init__(
        self,
        holdings: Callable[[], Holdings],
        replicas: Callable[[], Mapping[tuple[str, str], int]],
        clock: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._replicas = replicas
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, Holdings] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._held()
        yield _family("repositories", "Repositories", ["kind"], found.repositories)
        yield _family("accounts", "Users and organizations", ["kind"], found.accounts)
        for name, what in _HELD.items():
            yield GaugeMetricFamily(f"lanza_{name}", what, value=getattr(found, name))
        replicas = _bounded(self._replicas())
        yield _family("endpoint_replicas", "Replicas by phase", ["endpoint", "phase"], replicas)

    def _held(self) -> Holdings:
        with self._lock:
            if self._known is None or self._clock() - self._known[0] > FRESH_SECONDS:
                self._known = (self._clock(), self._holdings())
            return self._known[1]


def _family(
    name: str, what: str, labels: Sequence[str], numbers: Mapping[str, int] | Mapping[tuple[str, str], int]
) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"lanza_{name}", what, labels=labels)
    for key, number in numbers.items():
        made.add_metric([key] if isinstance(key, str) else key, number)
    return made


def _bounded(replicas: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
    """Endpoints beyond the first `MOST` are counted together."""
    named = set(sorted({endpoint for endpoint, _ in replicas})[:MOST])
    found: dict[tuple[str, str], int] = {}
    for (endpoint, phase), number in replicas.items():
        key = (endpoint if endpoint in named else "other", phase)
        found[key] = found.get(key, 0) + number
    return found


def count_together(folder: Path, place: int) -> None:
    """Count in files of `folder` from now on, as the worker at `place`: before anything is counted."""
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def forget_running(folder: Path, place: int) -> None:
    """The worker at `place` has ended: it has nothing under way any more."""
    multiprocess.mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]


def _of_all_workers() -> CollectorRegistry | None:
    if _FOLDER not in os.environ:
        return None
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


class Counted:
    """Wraps an application, and tells it in `scope["state"]["local"]` whether this machine itself asks."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        proxies: Sequence[Network] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self._proxies = proxies
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})["local"] = _is_local(scope, self._proxies)
        method, begun = scope["method"], self._clock()
        body = _Body(self._metrics, receive, send)
        self._metrics.running.inc()
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            self._metrics.running.dec()
            body.end()
            self._metrics.answered(method, route_of(scope), body.status, self._clock() - begun)


class _Body:
    """The bodies of one request and its answer, on their way."""

    def __init__(self, metrics: Metrics, receive: Receive, send: Send) -> None:
        self._metrics = metrics
        self._receive = receive
        self._send = send
        self._came = 0
        self.status = 499  # the client left before there was an answer

    async def receive(self) -> Message:
        message = await self._receive()
        if size := len(message.get("body", b"")):
            if self._came <= LARGE < self._came + size:
                self._metrics.uploads.inc()
            self._came += size
            self._metrics.came.inc(size)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self._metrics.went.inc(len(message.get("body", b"")))
        await self._send(message)

    def end(self) -> None:
        if self._came > LARGE:
            self._metrics.uploads.dec()


def route_of(scope: Scope) -> str:
    """The template of the route that a request took."""
    route: Any = scope.get("route")
    template: str | None = getattr(route, "path_format", None)
    return template or _NO_ROUTE


def _is_local(scope: Scope, proxies: Sequence[Network]) -> bool:
    """Whether somebody on this machine asks by themselves, and no proxy for somebody else."""
    headers = Headers(scope=scope)
    if any(name in headers for name in _OF_PROXIES) or not scope.get("client"):
        return False
    try:
        peer = ip_address(scope["client"][0])
    except ValueError:
        return False
    return peer.is_loopback and not any(peer in network for network in proxies)
