"""What the gateway counts, in Prometheus' terms.

Endpoints are labels, so their number is bounded: those beyond `MOST` are counted together as "other".
Requests that named no endpoint which exists are counted under "none".
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST: Final = 1000
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COLD: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


class EndpointMetrics:
    """The children of one endpoint, found once. `statuses` are classes: 2 for 2xx."""

    __slots__ = (
        "_name",
        "_requests",
        "cached",
        "cold",
        "first_byte",
        "held",
        "in_flight",
        "retries",
        "seconds",
        "statuses",
        "tokens_in",
        "tokens_out",
    )

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._requests, self._name = metrics.requests, name
        self.statuses: dict[int, Counter] = {}
        self.seconds = metrics.seconds.labels(name)
        self.first_byte = metrics.first_byte.labels(name)
        self.cold = metrics.cold.labels(name)
        self.cached = metrics.cached.labels(name)
        self.held = metrics.held.labels(name)
        self.in_flight = metrics.in_flight.labels(name)
        self.retries = metrics.retries.labels(name)
        self.tokens_in = metrics.tokens.labels(name, "in")
        self.tokens_out = metrics.tokens.labels(name, "out")

    def request(self, status: int, seconds: float, first_byte: float) -> None:
        kind = status // 100
        counter = self.statuses.get(kind)
        if counter is None:
            counter = self.statuses[kind] = self._requests.labels(self._name, f"{kind}xx")
        counter.inc()
        self.seconds.observe(seconds)
        if first_byte:
            self.first_byte.observe(first_byte)


class Metrics:
    """Of one process, in `registry`. Belongs to one event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_name: dict[str, EndpointMetrics] = {}
        self.requests = Counter(
            "lanza_gateway_requests", "Requests by class of status", ["endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "lanza_gateway_request_seconds",
            "Time to the end of the answer",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_byte = Histogram(
            "lanza_gateway_first_byte_seconds",
            "Time to the first byte of the answer (of a stream: its first token)",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.cold = Histogram(
            "lanza_gateway_cold_start_seconds",
            "How long requests that found an endpoint at zero waited for a replica",
            ["endpoint"],
            buckets=_COLD,
            registry=registry,
        )
        self.cached = Counter(
            "lanza_gateway_cache_hits", "Answers from the cache", ["endpoint"], registry=registry
        )
        self.tokens = Counter(
            "lanza_gateway_tokens", "Tokens read and written", ["endpoint", "way"], registry=registry
        )
        self.held = Gauge(
            "lanza_gateway_held",
            "Requests that wait for a replica",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.in_flight = Gauge(
            "lanza_gateway_in_flight",
            "Requests that a replica has",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.retries = Counter(
            "lanza_gateway_retries", "Requests given to another replica", ["endpoint"], registry=registry
        )

    def of(self, name: str) -> EndpointMetrics:
        """The counters of an endpoint, or of all that are too many to have their own."""
        found = self._by_name.get(name)
        if found is None:
            label = name if len(self._by_name) < MOST else "other"
            found = self._by_name.get(label) or EndpointMetrics(self, label)
            self._by_name[label] = found
        return found
