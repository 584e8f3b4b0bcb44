"""The proxy: CONNECT for everybody, and an end of the line for the hosts that are answered for.

The model: a connection for another host is two pipes, and nothing in it is read. One for a host of `hosts.py`
ends here: TLS, then one request, whose address and host are rewritten and which goes to the server; its
answer is piped back as it comes, and the connection closes. It listens on the loopback address only, and asks
for a password that only the shell it was made for knows.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from lanza.cli.intercept.hosts import HOSTS, path_here

LONGEST_HEAD: Final = 64 * 1024
CHUNK: Final = 64 * 1024
CONNECT_SECONDS: Final = 20
HEAD_SECONDS: Final = 60

_CLOSE: Final = frozenset(
    {b"host", b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection"}
)
"""Headers of a request that are this hop's."""


class Refused(Exception):
    """What is sent back instead, as status and reason."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The server that answers: an address like http://127.0.0.1:8420."""

    url: str

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        return await asyncio.open_connection(
            parts.hostname, port, ssl=ssl.create_default_context() if secure else None, limit=LONGEST_HEAD
        )

    @property
    def authority(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        return urlsplit(self.url).path.rstrip("/")


class Proxy:
    """Start it on an event loop with `start`. `outer` is the proxy that was set outside, for other hosts."""

    def __init__(
        self, *, target: Target, tls: ssl.SSLContext, password: str, outer: str | None = None
    ) -> None:
        self._target = target
        self._tls = tls
        self._expected = base64.b64encode(f"lanza:{password}".encode())
        self._outer = outer
        self._running: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1, which is returned."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST_HEAD)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._connection(reader, writer)
        except Refused as refused:
            writer.write(f"HTTP/1.1 {refused}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # one of the ends has gone: so does the other
        finally:
            self._running.discard(task)
            with suppress(OSError):
                writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers = await _head(reader)
        method, _, rest = line.partition(b" ")
        if method != b"CONNECT":
            raise Refused("501 Only CONNECT: plain HTTP needs no proxy here")
        scheme, _, given = headers.get(b"proxy-authorization", b"").partition(b" ")
        if scheme.lower() != b"basic" or not hmac.compare_digest(given.strip(), self._expected):
            raise Refused('407 Not your proxy\r\nProxy-Authenticate: Basic realm="lanza shell"')
        host, _, port = rest.partition(b" ")[0].decode("ascii", "replace").rpartition(":")
        if host.lower() in HOSTS and port == "443":
            await self._answer(host.lower(), reader, writer)
        else:
            await self._tunnel(host.strip("[]"), port, reader, writer)

    async def _tunnel(
        self, host: str, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not port.isdigit():
            raise Refused("400 CONNECT wants host:port")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                there = await (_through(self._outer, host, port) if self._outer else _direct(host, port))
        except (OSError, TimeoutError) as error:
            raise Refused(f"502 {host} cannot be reached") from error
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await _both_ways(reader, writer, *there)

    async def _answer(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request to the server in use, in the name of `host`."""
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await writer.start_tls(self._tls)
        line, headers = await _head(reader)
        method, _, rest = line.partition(b" ")
        path, _, version = rest.rpartition(b" ")
        if version != b"HTTP/1.1":
            raise Refused("505 Only HTTP/1.1")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                there_reader, there_writer = await self._target.open()
        except (OSError, TimeoutError) as error:
            raise Refused("502 The Lanza server of this shell is not there") from error
        here = self._target.prefix + path_here(host, path.decode("latin-1"))
        lines = [
            b"%b %b HTTP/1.1" % (method, here.encode("latin-1")),
            b"Host: " + self._target.authority.encode(),
            b"Connection: close",
            *(b"%b: %b" % pair for pair in headers.items() if pair[0] not in _CLOSE),
        ]
        there_writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        await _both_ways(reader, writer, there_reader, there_writer)


async def _head(reader: asyncio.StreamReader) -> tuple[bytes, Mapping[bytes, bytes]]:
    """The first line, and the headers by their names in lower case; of one that repeats, all values."""
    async with asyncio.timeout(HEAD_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head[:-4].split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for one in rest:
        name, _, value = one.partition(b":")
        key = name.strip().lower()
        headers[key] = b", ".join(filter(None, (headers.get(key), value.strip())))
    return line, headers


async def _direct(host: str, port: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, int(port))


async def _through(outer: str, host: str, port: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the proxy that was set outside of this shell."""
    parts = urlsplit(outer if "://" in outer else f"http://{outer}")
    reader, writer = await asyncio.open_connection(
        parts.hostname,
        parts.port or 80,
        ssl=ssl.create_default_context() if parts.scheme == "https" else None,
        limit=LONGEST_HEAD,
    )
    said = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        said += f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n"
    writer.write(f"{said}\r\n".encode())
    line, _ = await _head(reader)
    if b" 200" not in line[:13]:
        writer.close()
        raise OSError(f"the proxy outside refused {host}")
    return reader, writer


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there_reader: asyncio.StreamReader,
    there_writer: asyncio.StreamWriter,
) -> None:
    """Pipe until the far end is done, or one of both has gone."""
    up = asyncio.create_task(_pipe(reader, there_writer))
    try:
        await _pipe(there_reader, writer)
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        there_writer.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
