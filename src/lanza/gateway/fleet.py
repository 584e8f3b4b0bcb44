"""The ready replicas of endpoints, as this process uses them: what each has under way, and whom to ask next.

The model: the replica with the fewest requests is asked; of equals, each in turn. One that has failed is left
alone for a moment, longer each time, until it answers or is no longer listed: the control plane finds out in
its own time whether it is dead. Requests under which a replica has died are suspects, and tried one after
another, so that the one that ends replicas is told from those that were beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lanza.gateway.connections import Connections
from lanza.gateway.targets import Place, Target

Connect = Callable[[str], Connections]
"""The connections to the replica at an address."""

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
LONGEST_TURN: Final = 1.0
"""Seconds that a suspect is alone among suspects."""


class Member:
    """One replica. `in_flight` are requests of this process, `asked` whether there ever was one."""

    __slots__ = ("_pause", "asked", "avoided_until", "connections", "in_flight", "place")

    def __init__(self, place: Place, connections: Connections) -> None:
        self.place = place
        self.connections = connections
        self.in_flight = 0
        self.asked = False
        self.avoided_until = 0.0
        self._pause = 0.0

    def failed(self, now: float) -> None:
        """Leave it alone for a while. Requests that failed together count once."""
        if now >= self.avoided_until:
            self._pause = min(max(FIRST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
            self.avoided_until = now + self._pause

    def answered(self) -> None:
        if self._pause:
            self._pause = self.avoided_until = 0.0


class Turn:
    """A suspect's turn: nobody else's begins before it is over."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock: asyncio.Lock | None = lock

    def begin(self) -> None:
        """It is given to a replica now. One that does no harm for a while keeps nobody waiting."""
        asyncio.get_running_loop().call_later(LONGEST_TURN, self.end)

    def end(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


class Fleet:
    """The replicas of one endpoint."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._places: tuple[Place, ...] = ()
        self._turn = 0
        self._suspects = asyncio.Lock()
        self.members: list[Member] = []

    def follow(self, places: tuple[Place, ...]) -> None:
        """Make the members what is ready now; those that stay keep their connections."""
        if places is self._places:
            return
        before: dict[Place, Member | None] = {it.place: it for it in self.members}
        self._places = places
        self.members = [before.pop(place, None) or self._made(place) for place in places]
        for left in filter(None, before.values()):
            left.connections.close()

    def pick(self, now: float) -> Member | None:
        """Whom to ask; None when nobody is ready, or all have just failed."""
        members = self.members
        if len(members) == 1:
            return members[0] if members[0].avoided_until <= now else None
        best: Member | None = None
        self._turn += 1
        for offset in range(len(members)):
            member = members[(self._turn + offset) % len(members)]
            if member.avoided_until <= now and (best is None or member.in_flight < best.in_flight):
                best = member
        return best

    async def turn(self) -> Turn:
        """Of a suspect, when it comes."""
        await self._suspects.acquire()
        return Turn(self._suspects)

    @property
    def next_try(self) -> float:
        """When one that has failed may be asked again."""
        return min((it.avoided_until for it in self.members), default=float("inf"))

    def _made(self, place: Place) -> Member:
        return Member(place, self._connect(place.address))


class Fleets:
    """A fleet for each endpoint that was asked for."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._fleets: dict[int, Fleet] = {}

    def of(self, target: Target) -> Fleet:
        fleet = self._fleets.get(target.id)
        if fleet is None:
            fleet = self._fleets[target.id] = Fleet(self._connect)
        fleet.follow(target.places)
        return fleet

    def sweep(self) -> None:
        """End connections that were not used for long, and forget fleets that nobody uses."""
        for number, fleet in list(self._fleets.items()):
            for member in fleet.members:
                member.connections.sweep()
            if not any(member.in_flight or member.connections.kept for member in fleet.members):
                del self._fleets[number]

    def close(self) -> None:
        for fleet in self._fleets.values():
            fleet.follow(())
        self._fleets.clear()


def now() -> float:
    return asyncio.get_running_loop().time()
