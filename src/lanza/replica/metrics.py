"""What a replica counts, in Prometheus' terms, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PIECES = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """Requests by status and how long they took; batches by size; what waits and runs now."""

    content_type = CONTENT_TYPE_LATEST.encode()

    def __init__(self, *, waiting: Callable[[], float], running: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        requests = Counter("lanza_requests", "Requests by HTTP status", ["status"], registry=registry)
        self._request_child = requests.labels
        self._by_status: dict[int, Counter] = {}
        self._seconds = Histogram(
            "lanza_request_seconds", "Time to the end of the answer", buckets=_SECONDS, registry=registry
        )
        self._pieces = Histogram(
            "lanza_batch_pieces", "Sequences in a batch", buckets=_PIECES, registry=registry
        )
        self._tokens = Histogram(
            "lanza_batch_tokens", "Tokens in a batch", buckets=_TOKENS, registry=registry
        )
        self.cold_start = Gauge("lanza_load_seconds", "Time to load the model", registry=registry)
        Gauge("lanza_waiting", "Sequences in the queue", registry=registry).set_function(waiting)
        Gauge("lanza_running", "Batches or answers in work", registry=registry).set_function(running)

    def request(self, status: int, seconds: float) -> None:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._request_child(str(status))
        counter.inc()
        self._seconds.observe(seconds)

    def batch(self, pieces: int, tokens: int) -> None:
        self._pieces.observe(pieces)
        self._tokens.observe(tokens)

    def render(self) -> bytes:
        return generate_latest(self._registry)
