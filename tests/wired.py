"""A gateway with real connections, to small servers that are written byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateways import GatewayWorld

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wired(GatewayWorld):
    """`listening` servers are ready replicas of ana/becas. `connections` counts what was made to each."""

    folder: Path = field(kw_only=True)
    run: Callable[[Coroutine[Any, Any, Any]], Any] = field(kw_only=True)
    connections: list[int] = field(default_factory=list)
    open: list[set[asyncio.StreamWriter]] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self, *serving: Serve, tcp: bool = False) -> AsyncIterator[list[asyncio.Server]]:
        servers: list[asyncio.Server] = []
        for number, serve in enumerate(serving):
            self.connections.append(0)
            self.open.append(set())
            servers.append(await self.again(number, serve, tcp=tcp))
            address = f"unix:{self.folder / f'r{number}'}"
            if tcp:
                address = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
            self.replica("ana/becas", address=address)
        try:
            async with self.running():
                yield servers
        finally:
            for number, server in enumerate(servers):
                server.close()
                self.cut(number)

    async def again(self, number: int, serve: Serve, *, tcp: bool = False) -> asyncio.Server:
        """Server `number` listens, at the same address as before if it has a path."""

        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections[number] += 1
            self.open[number].add(writer)
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                self.open[number].discard(writer)
                writer.close()

        if tcp:
            return await asyncio.start_server(served, "127.0.0.1", 0)
        path = self.folder / f"r{number}"
        path.unlink(missing_ok=True)
        return await asyncio.start_unix_server(served, path)

    def cut(self, number: int) -> None:
        """End the connections of server `number`, as its death would."""
        for writer in self.open[number]:
            writer.transport.abort()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next one."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return head, body
    length = lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head, await reader.readexactly(int(length or 0))


async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo each body."""
    while True:
        _, body = await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()


def says(answer: bytes) -> Serve:
    """These bytes to every request, then the end of the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    return serve
