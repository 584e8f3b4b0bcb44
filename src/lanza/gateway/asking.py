"""One replica asked: the request given to it, and its answer, whole or begun.

A body that was kept goes in one piece, and can go again; a longer one is passed on as it comes, once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lanza.errors import DeadlineExceeded
from lanza.gateway.addresses import Address
from lanza.gateway.connection import Answer, Broken, Connection
from lanza.gateway.exchange import Exchange
from lanza.gateway.fleet import Member, now
from lanza.gateway.heads import Headers, request_head
from lanza.gateway.targets import Target


class Asking:
    """Of one request. `deadline` is set before a first replica is asked; a long body moves it to its end."""

    def __init__(self, exchange: Exchange, address: Address) -> None:
        self._exchange = exchange
        self._address = address
        self.deadline = 0.0

    async def ask(self, member: Member, target: Target) -> tuple[Connection, Answer]:
        """Its answer, whole or begun. Broken, DeadlineExceeded."""
        exchange, stale = self._exchange, False
        try:
            async with asyncio.timeout_at(self.deadline) as clock:
                while True:
                    try:
                        connection = await member.connections.take()
                        if exchange.whole and not exchange.passed_on:
                            request = self._head(member) + exchange.body
                            bodiless = exchange.method == "HEAD"
                            return connection, await connection.ask(request, bodiless=bodiless)
                        return connection, await self._send_long(member, connection, target, clock)
                    except Broken as error:
                        if stale and not error.reached:  # then it was no old connection: the replica died
                            raise Broken("it ended without an answer") from None
                        if not error.stale or exchange.passed_on:
                            raise
                        stale = True
                        member.connections.drop_idle()
        except TimeoutError:
            raise self.late(target) from None

    def _head(self, member: Member) -> bytes:
        exchange, address = self._exchange, self._address
        target = address.path + b"?" + exchange.query if exchange.query else address.path
        more: Headers = [
            (b"x-request-id", exchange.request_id),
            (b"x-forwarded-for", exchange.client.encode()),
            (b"x-forwarded-proto", exchange.scheme.encode()),
            (b"x-forwarded-host", exchange.named.get(b"host", b"")),
            (b"x-forwarded-prefix", address.prefix),
        ]
        return request_head(
            exchange.method,
            target,
            exchange.headers,
            host=member.connections.host,
            more=more,
            length=exchange.length,
        )

    async def _send_long(
        self, member: Member, connection: Connection, target: Target, clock: asyncio.Timeout
    ) -> Answer:
        """Pass on a body as it comes, at the client's pace; the answer may come before its end."""
        settled = connection.begin()
        pump = asyncio.create_task(self._pump(connection, self._head(member), target.deadline))
        try:
            clock.reschedule(None)
            first: set[asyncio.Future[Any]] = {settled, pump}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not settled.done():
                pump.result()
                self.deadline = now() + target.deadline
                clock.reschedule(self.deadline)
                self._exchange.watch()
            elif not settled.done() or not pump.done():
                connection.usable = False
            return await connection.settled(settled)
        except BaseException:
            connection.abort()
            raise
        finally:
            if not pump.done():
                pump.cancel()
            await asyncio.wait({pump})
            if settled.done() and not settled.cancelled():
                settled.exception()

    async def _pump(self, connection: Connection, head: bytes, patience: float) -> None:
        """The request, part by part. Broken, ClientGone, BadRequest."""
        chunked = self._exchange.length is None
        await _write(connection, head, patience)
        async for chunk in self._exchange.rest():
            part = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
            await _write(connection, part, patience)
        if chunked:
            await _write(connection, b"0\r\n\r\n", patience)

    def late(self, target: Target) -> DeadlineExceeded:
        """What is said when time is over."""
        return DeadlineExceeded(
            f"{target.label} did not answer within {target.deadline:g} s: ask for less, or let "
            "its owner raise `deadline`."
        )


async def _write(connection: Connection, data: bytes, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await connection.write(data)
    except TimeoutError:
        raise Broken("it does not read what it is sent") from None
