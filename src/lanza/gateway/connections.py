"""The connections to one replica: kept alive, the one that was used last first."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

from lanza.gateway.connection import Broken, Connection

IDLE: Final = 30.0
"""Seconds after which a connection is not used again: servers close theirs too, at a moment of their own."""


class Connections:
    """To `address`, `unix:/path` or `http://host:port`."""

    def __init__(self, address: str, *, connect_timeout: float) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._idle: list[Connection] = []
        self._closed = False
        self.host = b"localhost" if address.startswith("unix:") else urlsplit(address).netloc.encode()

    @property
    def kept(self) -> int:
        """How many nobody uses."""
        return len(self._idle)

    async def take(self) -> Connection:
        """One that nobody uses, made now if need be. Broken when nobody listens."""
        idle = self._idle
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < IDLE:
                return connection
            connection.abort()
        return await self._connect()

    def give_back(self, connection: Connection) -> None:
        """To be called once its answer was taken, or left in the middle."""
        if connection.complete and connection.usable and not self._closed:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def sweep(self) -> None:
        """End those that were not used for long."""
        oldest = asyncio.get_running_loop().time() - IDLE
        for connection in [it for it in self._idle if it.idle_since < oldest or not it.usable]:
            self._idle.remove(connection)
            connection.abort()

    def close(self) -> None:
        """Those in use end with their answers."""
        self._closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        """The other end has closed one of them, so it may have closed all."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                if self._address.startswith("unix:"):
                    path = self._address.removeprefix("unix:")
                    return (await loop.create_unix_connection(Connection, path))[1]
                parts = urlsplit(self._address)
                return (await loop.create_connection(Connection, parts.hostname or "", parts.port or 80))[1]
        except TimeoutError:
            raise Broken(f"it took no connection within {self._connect_timeout:g} s", reached=False) from None
        except OSError as error:
            raise Broken(f"nobody listens ({error.strerror or error})", reached=False) from None
