"""Answers that are given again, for endpoints that say so (`cacheHttpResponses`).

Only whole answers of 200 to GET and POST are kept, for one hour and within a bound of bytes, those that were
used longest ago going first. The key is all that an answer may depend on: endpoint, revision, address, body,
and what the caller accepts. An answer that depends on more says so (`Vary`), and is not kept. Whoever asks
was let in before.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lanza.gateway.connection import Answer
from lanza.gateway.exchange import Exchange
from lanza.gateway.heads import Headers, answer_headers
from lanza.gateway.targets import Target

AGE: Final = 3600.0
_OVERHEAD: Final = 512
_DECIDING: Final = (b"accept", b"accept-language", b"accept-encoding", b"content-type", b"content-encoding")
_HARMLESS: Final = frozenset((*_DECIDING, b"origin"))
"""What an answer may vary by and be kept: it is in the key, or no replica gets it."""
_NOT_KEPT: Final = (b"no-store", b"no-cache", b"private", b"max-age=0")

Key = tuple[int, int, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """An answer."""

    headers: Headers
    body: bytes
    until: float

    @property
    def size(self) -> int:
        return len(self.body) + _OVERHEAD + sum(len(name) + len(value) for name, value in self.headers)


class ResponseCache:
    """`clock` gives seconds."""

    def __init__(self, *, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most_bytes
        self._clock = clock
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._revisions: dict[int, int] = {}
        self.bytes = 0

    def key(self, target: Target, exchange: Exchange, path: bytes) -> Key | None:
        """What this request's answer is kept under; None when it cannot be."""
        if not target.cached or not exchange.whole or exchange.method not in ("GET", "POST"):
            return None
        revision = _serving(target)
        if revision is None:
            return None
        if self._revisions.get(target.id, revision) != revision:
            self.drop(target.id)
        self._revisions[target.id] = revision
        digest = hashlib.blake2b(digest_size=24)
        for part in (
            exchange.method.encode(),
            path,
            exchange.query,
            *(exchange.named.get(name, b"") for name in _DECIDING),
            exchange.body,
        ):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return target.id, revision, digest.digest()

    def find(self, key: Key) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= self._clock():
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: Key, answer: Answer, revision: int) -> None:
        """Only an answer of 200 by the revision that was expected to give it, and that may be kept."""
        if answer.status != 200 or revision != key[1] or not _may_be_kept(answer.headers):
            return
        headers = [pair for pair in answer_headers(answer.headers) if pair[0] != b"content-length"]
        kept = Kept(headers=headers, body=answer.body, until=self._clock() + AGE)
        if kept.size > self._most:
            return
        self._remove(key)
        self._kept[key] = kept
        self.bytes += kept.size
        while self.bytes > self._most:
            self._remove(next(iter(self._kept)))

    def drop(self, endpoint_id: int) -> None:
        """Forget what an endpoint has answered."""
        for key in [key for key in self._kept if key[0] == endpoint_id]:
            self._remove(key)

    def _remove(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.bytes -= kept.size


def wants_anew(exchange: Exchange) -> bool:
    """Whether who asks wants no answer from before: HTTP's word for it, and the inference API's."""
    return b"no-cache" in exchange.named.get(b"cache-control", b"").lower() or exchange.named.get(
        b"x-use-cache", b""
    ).lower() in (b"0", b"false")


def _serving(target: Target) -> int | None:
    """The revision that answers; None while there are two of them."""
    revisions = {place.revision for place in target.places}
    return target.revision if not revisions else revisions.pop() if len(revisions) == 1 else None


def _may_be_kept(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"cache-control" and any(word in value.lower() for word in _NOT_KEPT):
            return False
        if name == b"vary" and not {it.strip() for it in value.lower().split(b",")} <= _HARMLESS:
            return False
    return True
