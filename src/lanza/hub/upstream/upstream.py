"""Asking another hub: without a token, cookies or names that are ours, and fast to give up.

The model: an answer may lead on within the hub itself, and from there, over TLS, to the hosts that are
known to keep its files; nowhere else. When the hub cannot be reached, that is remembered for a moment, so
that those who ask for many files learn it at once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from lanza import __version__
from lanza.errors import PayloadTooLarge, UpstreamAway, UpstreamUnavailable, UsageError
from lanza.hub.upstream.cache import Cache

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CONTENT_HOSTS: Final = (".huggingface.co", ".hf.co")
"""Ends of the names of hosts to which a hub may send on, for the content of files."""

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0
AWAY_SECONDS: Final = 15.0
"""How long a hub that could not be reached is not tried again."""

BUSY_SECONDS: Final = 5.0
MOST_STEPS: Final = 5
MOST_BYTES: Final = 50 * 2**30


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer, its body still to come. `elsewhere`: it only says where the content is, and what it is."""

    status: int
    headers: Mapping[str, str]
    elsewhere: bool = False
    response: ClientResponse = field(repr=False)

    async def read(self, most: int) -> bytes:
        """The whole body. PayloadTooLarge when it has more than `most` bytes."""
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > most:
                raise PayloadTooLarge(
                    f"the upstream hub's answer has more than {most:,} bytes: ask for less."
                )
        return bytes(body)

    async def pieces(self, size: int = 2**20) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        from aiohttp import ClientError

        try:
            async for piece in self.response.content.iter_chunked(size):
                yield piece
        except (ClientError, TimeoutError) as error:
            raise UpstreamUnavailable(
                f"the upstream hub broke off in the middle: {_reason(error)}."
            ) from error


class Upstream:
    """The hub at `url`. `close` must be called in the end."""

    def __init__(
        self,
        url: str,
        *,
        cache: Path,
        hosts: Sequence[str] = CONTENT_HOSTS,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self.cache = Cache(cache, most=most_bytes)
        self._origin = _checked(self.url)
        self._hosts = tuple(hosts)
        self._clock = clock
        self._away_until = 0.0
        self._session: ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def ask(
        self, method: str, address: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Reply]:
        """Ask for `address`, a path with its query. UpstreamUnavailable when there is no answer to be had.

        Of HEAD, the answer is the hub's own, also when it would send on to where the content is.
        """
        if self._clock() < self._away_until:
            raise UpstreamAway(self._words("it could not be reached a moment ago"))
        here = URL(self.url + address, encoded=True)
        for _ in range(MOST_STEPS):
            async with await self._send(method, here, headers or {}) as response:
                onward = self._onward(here, response) if 300 <= response.status < 400 else None
                elsewhere = onward is not None and method == "HEAD" and onward.origin() != self._origin
                if onward is None or elsewhere:
                    self._check(response)
                    status = 200 if elsewhere else response.status
                    yield Reply(
                        status=status, headers=response.headers, elsewhere=elsewhere, response=response
                    )
                    return
                here = onward
        raise UpstreamUnavailable(self._words(f"it sent on more than {MOST_STEPS} times"))

    async def _send(self, method: str, url: URL, headers: Mapping[str, str]) -> ClientResponse:
        # Here, as most servers start without asking anybody, and it takes a tenth of a second to import.
        from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0),
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=READ_SECONDS),
                headers={"User-Agent": f"lanza/{__version__}", "Accept-Encoding": "identity"},
                trust_env=False,  # it would send what is in ~/.netrc
            )
        try:
            return await self._session.request(
                method, url, headers=headers, allow_redirects=False, proxy=_proxy(url)
            )
        except (ClientError, TimeoutError, OSError) as error:
            self._away_until = self._clock() + AWAY_SECONDS
            raise UpstreamAway(self._words(_reason(error))) from error

    def _onward(self, here: URL, response: ClientResponse) -> URL | None:
        """Where an answer sends on to. None when it does not; UpstreamUnavailable when it may not."""
        location = response.headers.get("Location")
        if location is None:
            return None
        target = here.join(URL(location, encoded=True))
        if target.absolute and target.origin() == self._origin:
            return target
        host = target.host or ""
        if target.scheme == "https" and host.endswith(self._hosts):
            return target.with_user(None)
        where = host or "nowhere"
        raise UpstreamUnavailable(self._words(f"it sends on to {where}, which is none of its hosts"))

    def _check(self, response: ClientResponse) -> None:
        if response.status == 429 or response.status >= 500:
            said = response.headers.get("Retry-After", "")
            after = float(said) if said.isdigit() else BUSY_SECONDS
            raise UpstreamUnavailable(self._words(f"it answers {response.status}"), retry_after=after)

    def _words(self, reason: str) -> str:
        return f"the upstream hub {self.url} cannot be asked: {reason}."


def _checked(url: str) -> URL:
    try:
        parsed = URL(url)
        origin = parsed.origin()
    except ValueError as error:
        raise UsageError(f"{url!r} is not the address of a hub: write https://HOST.") from error
    if parsed.user or parsed.password or parsed.query_string or parsed.fragment:
        raise UsageError("leave name, password and query out of the upstream hub's address: it gets none.")
    return origin


def _proxy(url: URL) -> str | None:
    """The proxy that the environment names for this address."""
    host = url.host or ""
    return None if proxy_bypass(host) else getproxies().get(url.scheme)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
