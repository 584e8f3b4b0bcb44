"""Tells an endpoint's owner, at the address that they gave, what somebody should know of it.

The model: each notice is one POST of JSON, tried again with longer and longer pauses until the other side
takes it, refuses it for good, or the tries are over. What may be under way is bounded; beyond that notices
are dropped, and the log says so. `X-Lanza-Signature` proves that this server sent it:

    sha256=HMAC-SHA256(the endpoint's secret, X-Lanza-Timestamp (seconds since 1970) + "." + body)

An address that others choose must not reach what only this machine can: `outside.py` sees to that.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Final

from lanza import __version__
from lanza.auth.audit import without_secrets
from lanza.endpoints.notices import Notice

if TYPE_CHECKING:
    from lanza.endpoints.outside import Outside

log = logging.getLogger("lanza.endpoints")

PAUSES: Final = (1.0, 5.0, 25.0, 125.0, 625.0)
"""Seconds before each further try."""
MOST: Final = 1000
AT_ONCE: Final = 8
LATER: Final = frozenset({408, 409, 425, 429})
"""Refusals that are worth another try; so are all from 500 on."""


class Webhooks:
    """One for each server process. `key` is the server's; `send` is to be called on its event loop."""

    def __init__(
        self,
        key: bytes,
        *,
        allowed: Sequence[IPv4Network | IPv6Network] = (),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._key = key
        self._allowed = allowed
        self._clock = clock
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._outside: Outside | None = None

    def send(self, notice: Notice) -> None:
        """Begin to deliver a notice, if it has an address. Returns at once."""
        if notice.webhook is None:
            return
        if len(self._tasks) >= MOST:
            log.warning("%s: a webhook was dropped: %d are under way already", notice.endpoint, MOST)
            return
        task = asyncio.get_running_loop().create_task(self._deliver(notice, notice.webhook))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let go of all that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._outside is not None:
            await self._outside.close()

    async def _deliver(self, notice: Notice, url: str) -> None:
        delivery = secrets.token_hex(8)
        body = _body(notice, delivery, self._clock())
        problem = ""
        for pause in (0.0, *PAUSES):
            if pause:
                await self._sleep(pause)
            async with self._turn:
                outcome = await self._post(notice, url, body, delivery)
            if outcome is None:
                return
            problem = outcome.problem
            if outcome.final:
                break
        log.warning("%s: the webhook for %s was not taken: %s", notice.endpoint, notice.event, problem)

    async def _post(self, notice: Notice, url: str, body: bytes, delivery: str) -> _Failure | None:
        """None when it was taken."""
        stamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"lanza/{__version__}",
            "X-Lanza-Event": str(notice.event),
            "X-Lanza-Delivery": delivery,
            "X-Lanza-Timestamp": stamp,
            "X-Lanza-Signature": signature(secret_of(self._key, notice.endpoint), stamp, body),
        }
        # Here, as most servers have nobody to tell, and what speaks HTTP takes a tenth of a second to import.
        from lanza.endpoints.outside import Outside, Unreachable

        if self._outside is None:
            self._outside = Outside(allowed=self._allowed)
        try:
            status = await self._outside.post(url, body, headers)
        except Unreachable as error:
            return _Failure(problem=str(error), final=error.final)
        return _judged(status)


def secret_of(key: bytes, endpoint: str) -> str:
    """An endpoint's own secret, for those who may manage it: derived, so that it is kept nowhere."""
    derived = hmac.new(key, f"webhook of {endpoint.lower()}".encode(), hashlib.sha256)
    return f"whsec_{derived.hexdigest()}"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What `X-Lanza-Signature` says. Receivers compute the same, and refuse old timestamps."""
    signed = timestamp.encode() + b"." + body
    return f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class _Failure:
    problem: str
    final: bool


def _judged(status: int) -> _Failure | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return _Failure(problem=f"{status}: redirects are not followed", final=True)
    return _Failure(problem=f"it answered {status}", final=status < 500 and status not in LATER)


def _body(notice: Notice, delivery: str, at: float) -> bytes:
    """Of the reason why something failed, logs may be a part: tokens in it are hidden."""
    tree: dict[str, Any] = {
        "id": delivery,
        "event": str(notice.event),
        "endpoint": notice.endpoint,
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        "message": without_secrets(notice.message),
        "details": without_secrets(notice.details),
    }
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace")
