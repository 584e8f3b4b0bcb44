"""How often and how many at once: token buckets for each endpoint and each token, and a cap on open requests.

The model: a bucket fills by `rate` each second up to twice that, and a request takes one. With N workers each
has buckets of an N-th, so all together hold the rate within that. Callers without a token are told apart by
their address.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from lanza.errors import Overloaded
from lanza.gateway.meter import Tally
from lanza.gateway.targets import Target

MOST_BUCKETS: Final = 20_000
BURST: Final = 2.0


class Bucket:
    """`rate` each second, `BURST` seconds' worth (at least one) at once."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._level = self._most
        self._at = now

    @property
    def _most(self) -> float:
        return max(1.0, BURST * self.rate)

    def take(self, now: float) -> float:
        """0 when there was one to take, else the seconds until there is."""
        passed = max(0.0, now - self._at)
        self._level = min(self._most, self._level + passed * self.rate)
        self._at = now
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self.rate


class Limits:
    """`clock` gives seconds. Forgets the buckets that were used longest ago."""

    def __init__(self, *, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        self._buckets: OrderedDict[tuple[int, str], Bucket] = OrderedDict()

    def check(self, target: Target, who: str, tally: Tally) -> None:
        """Let one request of `who` in, or Overloaded with when to try again."""
        if target.concurrency is not None:
            most = max(1, target.concurrency // self._workers)
            if tally.open >= most:
                raise Overloaded(f"{target.label} takes {target.concurrency} requests at once: try again.")
        rates = target.rates
        if rates.per_token is not None:
            self._take(target, who, rates.per_token, f"requests per second of one caller to {target.label}")
        if rates.per_endpoint is not None:
            self._take(target, "", rates.per_endpoint, f"requests per second to {target.label}")

    def _take(self, target: Target, who: str, rate: float, what: str) -> None:
        share = rate / self._workers
        key = (target.id, who)
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None or bucket.rate != share:
            bucket = self._buckets[key] = Bucket(share, now)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        wait = bucket.take(now)
        if wait:
            raise Overloaded(f"the limit is {rate:g} {what}: wait {wait:.1f} s.", retry_after=wait)
