"""A request given to a replica, to another when that one dies, and the answer passed on.

The model: nothing of an answer reaches the client before it is known that it will not be needed to ask
somebody else: answers up to `REPLAYED` bytes are whole first. A replica that is not there, ends in the
middle, talks no HTTP, or says 503, was not the one; the next is asked, and waited for until the deadline.
What was begun to be passed on, in either direction, is not tried again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from lanza.errors import BadRequest, DeadlineExceeded, EngineFailed, Unavailable
from lanza.gateway import answers
from lanza.gateway.addresses import Address
from lanza.gateway.connection import Answer, Broken, Connection
from lanza.gateway.exchange import ClientGone, Exchange
from lanza.gateway.fleet import Fleets, Member, now
from lanza.gateway.heads import Headers, answer_headers, request_head
from lanza.gateway.holding import Holding, TooLong
from lanza.gateway.meter import Tally
from lanza.gateway.settings import GatewaySettings
from lanza.gateway.targets import Target
from lanza.gateway.tokens import StreamTokens, tokens_of

log = logging.getLogger("lanza.gateway")

MOST_DEATHS: Final = 10
"""Replicas that may die over one request, before it is thought to be what kills them."""


class Forwarder:
    """Belongs to one event loop."""

    def __init__(self, *, fleets: Fleets, holding: Holding, settings: GatewaySettings) -> None:
        self.fleets = fleets
        self.holding = holding
        self.settings = settings
        self.retries = 0

    async def serve(
        self, exchange: Exchange, target: Target, address: Address, tally: Tally
    ) -> Answer | None:
        """Answer. The answer is given back when it was whole. Errors of the tree, ClientGone."""
        return await _Forwarding(self, exchange, target, address, tally).serve()

    def patience(self, exchange: Exchange, target: Target) -> float:
        """Seconds to wait for a replica to start. BadRequest."""
        given = exchange.named.get(b"x-scale-up-timeout")
        if given is None:
            return min(target.start_timeout, self.settings.longest_hold)
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:
            raise BadRequest("X-Scale-Up-Timeout is in seconds, and not negative.")
        return min(seconds, self.settings.longest_hold)


class _Forwarding:
    """One request on its way."""

    def __init__(
        self, forwarder: Forwarder, exchange: Exchange, target: Target, address: Address, tally: Tally
    ) -> None:
        self._forwarder = forwarder
        self._exchange = exchange
        self._target = target
        self._address = address
        self._tally = tally
        self._deadline = 0.0
        self._deaths = 0
        self._refusal: Answer | None = None

    async def serve(self) -> Answer | None:
        while True:
            member = self._forwarder.fleets.of(self._target).pick(now())
            if member is None:
                member = await self._held()
                if member is None:
                    return self._refusal
            if not self._deadline:
                self._deadline = now() + self._target.deadline
            member.in_flight += 1
            self._tally.in_flight += 1
            try:
                done, answer = await self._attempt(member)
            finally:
                member.in_flight -= 1
                self._tally.in_flight -= 1
            if done:
                return answer
            self._forwarder.retries += 1

    async def _held(self) -> Member | None:
        """A replica that becomes ready; None when the last one's refusal was passed on instead."""
        tried, began = bool(self._deadline), now()
        cold = not tried and not self._target.places
        until = self._deadline or now() + self._forwarder.patience(self._exchange, self._target)
        self._tally.held += 1
        try:
            self._target, member = await self._forwarder.holding.member(self._target, until=until)
        except TooLong as error:
            if self._refusal is not None:
                await self._pass_on(self._refusal)
                return None
            if tried:
                raise self._late() from None
            raise _not_ready(error.target) from None
        finally:
            self._tally.held -= 1
        if cold:
            self._exchange.cold = now() - began
        return member

    async def _attempt(self, member: Member) -> tuple[bool, Answer | None]:
        """Ask one replica. Whether that settled it."""
        try:
            connection, answer = await self._ask(member)
        except Broken as error:
            self._failed(member, error)
            return False, None
        if not answer.whole:
            member.answered()
            try:
                await self._stream(connection, answer)
            finally:
                member.connections.give_back(connection)
            return True, None
        member.connections.give_back(connection)
        if answer.status == 503 and self._may_retry:
            member.failed(now())
            self._refusal = answer
            return False, None
        member.answered()
        await self._pass_on(answer)
        return True, answer

    @property
    def _may_retry(self) -> bool:
        return self._target.retry and not self._exchange.passed_on

    def _failed(self, member: Member, error: Broken) -> None:
        """Note it. Raises when nobody else is to be asked."""
        exchange, target = self._exchange, self._target
        member.failed(now())
        log.warning(
            "request %s: %s of %s: %s", exchange.request_id.decode(), member.place.id, target.label, error
        )
        if not self._may_retry:
            raise Unavailable(f"the replica of {target.label} that was asked is gone: {error}. Try again.")
        self._deaths += error.reached
        if self._deaths >= MOST_DEATHS:
            raise EngineFailed(
                f"{self._deaths} replicas of {target.label} ended over this request: it may be what ends "
                f"them. `lanza logs {target.label}` says more."
            )

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"{self._target.label} did not answer within {self._target.deadline:g} s: ask for less, or let "
            "its owner raise `deadline`."
        )

    # One replica

    async def _ask(self, member: Member) -> tuple[Connection, Answer]:
        """Its answer, whole or begun. Broken, DeadlineExceeded."""
        exchange = self._exchange
        try:
            async with asyncio.timeout_at(self._deadline) as clock:
                while True:
                    connection = await member.connections.take()
                    try:
                        if exchange.whole and not exchange.passed_on:
                            request = self._head(member) + exchange.body
                            bodiless = exchange.method == "HEAD"
                            return connection, await connection.ask(request, bodiless=bodiless)
                        return connection, await self._send_long(member, connection, clock)
                    except Broken as error:
                        if not error.stale or exchange.passed_on:
                            raise
                        member.connections.drop_idle()
        except TimeoutError:
            raise self._late() from None

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

    async def _send_long(self, member: Member, connection: Connection, clock: asyncio.Timeout) -> Answer:
        """Pass on a body as it comes, at the client's pace; the answer may come before its end."""
        settled = connection.begin()
        pump = asyncio.create_task(self._pump(connection, self._head(member)))
        try:
            clock.reschedule(None)
            first: set[asyncio.Future[Any]] = {settled, pump}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not settled.done():
                pump.result()
                self._deadline = now() + self._target.deadline
                clock.reschedule(self._deadline)
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

    async def _pump(self, connection: Connection, head: bytes) -> None:
        """The request, part by part. Broken, ClientGone, BadRequest."""
        chunked = self._exchange.length is None
        await self._write(connection, head)
        async for chunk in self._exchange.rest():
            await self._write(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            await self._write(connection, b"0\r\n\r\n")

    async def _write(self, connection: Connection, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._target.deadline):
                await connection.write(data)
        except TimeoutError:
            raise Broken("it does not read what it is sent") from None

    # The answer

    async def _pass_on(self, answer: Answer) -> None:
        """A whole answer."""
        exchange = self._exchange
        headers = answer_headers(answer.headers)
        if answer.body or not any(name == b"content-length" for name, _ in headers):
            headers = [pair for pair in headers if pair[0] != b"content-length"]
            if answer.status not in (204, 304):
                headers.append((b"content-length", b"%d" % len(answer.body)))
        exchange.tokens_in, exchange.tokens_out = tokens_of(answer.body)
        await exchange.answer(answer.status, headers, answer.body)

    async def _stream(self, connection: Connection, answer: Answer) -> None:
        """An answer that has begun, part by part. Whoever is silent for too long ends it."""
        exchange, settings = self._exchange, self._forwarder.settings
        events = any(
            name == b"content-type" and value.startswith(b"text/event-stream")
            for name, value in answer.headers
        )
        tokens = StreamTokens()
        try:
            await exchange.begin(answer.status, answer_headers(answer.headers))
            while True:
                async with asyncio.timeout(self._target.deadline):
                    chunk = await connection.chunk()
                if chunk is None:
                    break
                tokens.feed(chunk)
                async with asyncio.timeout(settings.client_timeout):
                    await exchange.send(chunk, more=True)
        except (Broken, TimeoutError) as error:
            connection.abort()
            await self._cut(error, events=events)
            return
        finally:
            exchange.tokens_in, exchange.tokens_out = tokens.result()
        exchange.unwatch()
        await exchange.send(b"")

    async def _cut(self, error: Exception, *, events: bool) -> None:
        """End an answer in the middle, so that it cannot be taken for whole."""
        exchange, target = self._exchange, self._target
        log.warning("request %s: the answer of %s ended in the middle: %s", exchange.request_id.decode(),
                    target.label, error or "nobody went on")  # fmt: skip
        exchange.failed = True
        exchange.unwatch()
        if events and isinstance(error, Broken):
            said = Unavailable(f"the replica of {target.label} ended in the middle of its answer: try again.")
            body = answers.rendered(exchange, said, as_openai=self._address.openai)
            await exchange.send(b"data: " + body + b"\n\n", more=True)
        raise ClientGone


def _not_ready(target: Target) -> Unavailable:
    said = f" ({target.message})" if target.message else ""
    return Unavailable(
        f"{target.label} has no replica ready yet: it is {target.state}{said}. Try again, or wait for "
        "longer with the header X-Scale-Up-Timeout (seconds).",
        retry_after=5,
    )
