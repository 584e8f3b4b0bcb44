"""POSTs to addresses that others choose: they must not reach what only this machine can.

The model: names are resolved here, and only public addresses (or those in `allowed`) are connected to, the
very ones that were looked at. No redirect is followed, no proxy asked, no cookie kept, and what comes back is
not read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, InvalidURL, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

Network = IPv4Network | IPv6Network

SECONDS: Final = 10.0

_NAT64: Final = ip_network("64:ff9b::/96")


class Unreachable(Exception):
    """There was no answer. `final`: there will be none either when it is tried again."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class Outside:
    """Belongs to one event loop."""

    def __init__(self, *, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._session: ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Unreachable when there is none."""
        try:
            _check_literal(url, self._allowed)
            async with self._open().post(
                url, data=body, headers=headers, allow_redirects=False, timeout=ClientTimeout(total=SECONDS)
            ) as answer:
                return answer.status
        except _Internal as error:
            raise Unreachable(str(error), final=True) from error
        except (InvalidURL, ValueError) as error:
            raise Unreachable(f"it is no address: {error}", final=True) from error
        except (ClientError, TimeoutError, OSError) as error:
            if isinstance(error.__cause__, _Internal):
                raise Unreachable(str(error.__cause__), final=True) from error
            raise Unreachable(f"{type(error).__name__} {error}".strip(), final=False) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> ClientSession:
        if self._session is None:
            connector = TCPConnector(resolver=_Checked(self._allowed), use_dns_cache=False, force_close=True)
            self._session = ClientSession(
                connector=connector, cookie_jar=DummyCookieJar(), trust_env=False, auto_decompress=False
            )
        return self._session


class _Internal(OSError):
    """The address is one that nobody outside could reach."""


class _Checked(AbstractResolver):
    """Resolves names as the system does, and lets through only what may be connected to."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        for *_, address in found:
            _check_address(str(address[0]), self._allowed)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        pass


def _check_literal(url: str, allowed: Sequence[Network]) -> None:
    """An address in place of a name is connected to without asking a resolver."""
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return
    _check_address(host, allowed)


def _check_address(text: str, allowed: Sequence[Network]) -> None:
    address = ip_address(text.partition("%")[0])
    if any(address in network for network in allowed):
        return
    inner = address
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
        if address in _NAT64:
            inner = ip_address(int(address) & 0xFFFFFFFF)
    if not inner.is_global or inner.is_multicast:
        raise _Internal(
            f"{text} is an internal address: the server sends nothing there unless it was started with "
            "--webhooks-to for its network"
        )
