"""What the server counts, in Prometheus' terms, in a registry of its own.

The model: `Counted` is the outermost wrapper of the application. It sees every request with the peer's real
address, counts the bytes of both bodies as they pass, and names a request by the template of its route, never
by its path: what clients can make up is no label. What the Hub holds is asked of the database when somebody
asks for `/metrics`, and then not for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanza.gateway.settings import Network
from lanza.hub.holdings import Holdings

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
FRESH_SECONDS: Final = 30.0
"""How long what the Hub holds counts as known."""

LARGE: Final = 2**20
"""Bytes of a body from which on it is an upload under way."""

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE: Final = "none"
_OF_PROXIES: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Metrics:
    """Counters of requests, and gauges of what `holdings` gives. May be used by many threads."""

    def __init__(self, holdings: Callable[[], Holdings], clock: Callable[[], float] = time.monotonic) -> None:
        self._holdings = holdings
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._registry = made = CollectorRegistry()
        by = ["method", "route"]
        self._requests = Counter("lanza_requests", "Requests answered", [*by, "status"], registry=made)
        self._seconds = Histogram(
            "lanza_request_seconds", "Time to the end of the answer", by, buckets=_SECONDS, registry=made
        )
        bodies = Counter("lanza_body_bytes", "Bytes of bodies that came and went", ["way"], registry=made)
        self.came, self.went = bodies.labels("in"), bodies.labels("out")
        self.running = Gauge("lanza_requests_running", "Requests not answered to the end", registry=made)
        self.uploads = Gauge("lanza_uploads_running", "Bodies over 1 MiB that are coming in", registry=made)
        self._repositories = Gauge("lanza_repositories", "Repositories", ["kind"], registry=made)
        self._accounts = Gauge("lanza_accounts", "Users and organizations", ["kind"], registry=made)
        self._held = {
            name: Gauge(f"lanza_{name}", what, registry=made)
            for name, what in (
                ("blobs", "Large files, each content once"),
                ("stored_bytes", "Bytes of large files, each content once"),
                ("logical_bytes", "Bytes of large files, for each repository that has them"),
                ("begun_uploads", "Uploads in parts that have begun and are not complete"),
            )
        }

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads. Asks the database, so it is for a thread."""
        with self._lock:
            if self._asked is None or self._clock() - self._asked > FRESH_SECONDS:
                self._fill(self._holdings())
                self._asked = self._clock()
        return generate_latest(self._registry)

    def _fill(self, found: Holdings) -> None:
        for gauge, numbers in (
            (self._repositories, found.repositories),
            (self._accounts, found.accounts),
        ):
            gauge.clear()
            for kind, number in numbers.items():
                gauge.labels(kind).set(number)
        for name, gauge in self._held.items():
            gauge.set(getattr(found, name))


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
