"""A request given to a replica, to another when that one dies, and the answer passed on.

The model: nothing of an answer reaches the client before it is known that it will not be needed to ask
somebody else: answers up to `REPLAYED` bytes are whole first. A replica that is not there, ends in the
middle, talks no HTTP, or says 503, was not the one; the next is asked, and waited for until the deadline. A
request that ended three replicas is thought to be what ends them. So that none is blamed for its neighbour,
those under which one has died are tried one at a time.
What was begun to be passed on, in either direction, is not tried again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from lanza.errors import BadRequest, DeadlineExceeded, EngineFailed, Unavailable
from lanza.gateway.addresses import Address
from lanza.gateway.asking import Asking
from lanza.gateway.connection import Answer, Broken, Connection
from lanza.gateway.exchange import Exchange
from lanza.gateway.fleet import Fleets, Member, Turn, now
from lanza.gateway.holding import Holding, TooLong
from lanza.gateway.meter import Tally
from lanza.gateway.passing import pass_on, stream
from lanza.gateway.settings import GatewaySettings
from lanza.gateway.targets import Target

log = logging.getLogger("lanza.gateway")

MOST_DEATHS: Final = 3
"""Replicas that may die over one request, before it is thought to be what kills them: one may have died of
another request, and one more by chance."""
RESTARTING: Final = b'"engine_restarting"'
"""In a refusal of our own replicas: its handler, a process of its own, has died over the request."""


class Forwarder:
    """Belongs to one event loop."""

    def __init__(self, *, fleets: Fleets, holding: Holding, settings: GatewaySettings) -> None:
        self.fleets = fleets
        self.holding = holding
        self.settings = settings

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
        self._asking = Asking(exchange, address)
        assert exchange.metrics is not None
        self._metrics = exchange.metrics
        self._deaths = 0
        self._refusal: Answer | None = None

    async def serve(self) -> Answer | None:
        while True:
            done, answer = await (self._try_alone() if self._deaths == 1 else self._try())
            if done:
                return answer
            self._metrics.retries.inc()

    async def _try_alone(self) -> tuple[bool, Answer | None]:
        """A replica has died under it: try it when no other suspect is tried.

        Whose second one has died too does not wait again: if that was by chance, the sooner it is
        answered the less likely is a third.
        """
        try:
            async with asyncio.timeout_at(self._asking.deadline):
                turn = await self._forwarder.fleets.of(self._target).turn()
        except TimeoutError:
            return True, await self._last_word(self._asking.late(self._target))
        try:
            return await self._try(turn)
        finally:
            turn.end()

    async def _try(self, turn: Turn | None = None) -> tuple[bool, Answer | None]:
        """Ask whoever is ready, or will be. Whether that settled it."""
        member = self._forwarder.fleets.of(self._target).pick(now()) or await self._held()
        if member is None:
            return True, self._refusal
        if not self._asking.deadline:
            self._asking.deadline = now() + self._target.deadline
        if not member.asked:
            member.asked = True
            self._tally.marks.asked.add(member.place.id)
        if turn is not None:
            turn.begin()
        member.in_flight += 1
        self._tally.in_flight += 1
        self._metrics.in_flight.inc()
        try:
            settled = await self._attempt(member)
            self._exchange.revision = member.place.revision
            return settled
        finally:
            member.in_flight -= 1
            self._tally.in_flight -= 1
            self._metrics.in_flight.dec()

    async def _held(self) -> Member | None:
        """A replica that becomes ready; None when the last one's refusal was passed on instead."""
        tried, began = bool(self._asking.deadline), now()
        cold = not tried and not self._target.places
        until = self._asking.deadline or now() + self._forwarder.patience(self._exchange, self._target)
        self._tally.held += 1
        self._metrics.held.inc()
        try:
            self._target, member = await self._forwarder.holding.member(self._target, until=until)
        except TooLong as error:
            if not tried:
                raise _not_ready(error.target) from None
            await self._last_word(self._asking.late(self._target))
            return None
        finally:
            self._tally.held -= 1
            self._metrics.held.dec()
        if cold:
            self._exchange.cold = now() - began
        return member

    async def _attempt(self, member: Member) -> tuple[bool, Answer | None]:
        """Ask one replica. Whether that settled it."""
        try:
            connection, answer = await self._asking.ask(member, self._target)
        except Broken as error:
            self._failed(member, error)
            return False, None
        except DeadlineExceeded as error:
            return True, await self._last_word(error)
        if not answer.whole:
            member.answered()
            try:
                await self._stream(connection, answer)
            finally:
                if connection.broken:
                    self._tally.marks.broke.add(member.place.id)
                member.connections.give_back(connection)
            return True, None
        member.connections.give_back(connection)
        if answer.status == 503 and self._may_retry:
            member.failed(now())
            self._refusal = answer
            self._deaths += RESTARTING in answer.body
            if self._deaths < MOST_DEATHS:
                return False, None
        member.answered()
        await pass_on(self._exchange, answer)
        return True, answer

    async def _last_word(self, late: DeadlineExceeded) -> Answer:
        """Time is over: the last refusal is passed on, which says more than that it took long."""
        if self._refusal is None:
            raise late
        await pass_on(self._exchange, self._refusal)
        return self._refusal

    async def _stream(self, connection: Connection, answer: Answer) -> None:
        await stream(
            self._exchange,
            connection,
            answer,
            target=self._target,
            patience=self._forwarder.settings.client_timeout,
            as_openai=self._address.openai,
        )

    @property
    def _may_retry(self) -> bool:
        return self._target.retry and not self._exchange.passed_on

    def _failed(self, member: Member, error: Broken) -> None:
        """Note it. Raises when nobody else is to be asked."""
        exchange, target = self._exchange, self._target
        member.failed(now())
        if error.reached:
            self._tally.marks.broke.add(member.place.id)
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


def _not_ready(target: Target) -> Unavailable:
    said = f" ({target.message})" if target.message else ""
    return Unavailable(
        f"{target.label} has no replica ready yet: it is {target.state}{said}. Try again, or wait for "
        "longer with the header X-Scale-Up-Timeout (seconds).",
        retry_after=5,
    )
