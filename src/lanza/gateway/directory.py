"""Which endpoint is meant by the name of a model: an endpoint's own name, or the repository that it serves.

Only what the caller may call is ever chosen or listed. Of several endpoints with one repository the choice
is: one that is not paused or failed, then of the caller's own namespace, then ready, then the newest.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lanza.auth.audit import Trail
from lanza.auth.principal import Principal
from lanza.endpoints.states import State
from lanza.errors import LanzaError, NotFound, Unauthorized
from lanza.gateway.table import RouteTable
from lanza.gateway.targets import Target

FRESH: Final = 1.0
MOST: Final = 1000
NAMED: Final = 20
"""Endpoints that a 404 names."""

Check = Callable[[Target], None]
"""Raises Unauthorized or Forbidden when the caller may not call it."""


class Serverless(Protocol):
    """Starts an endpoint for a repository that has none. Made by the control plane."""

    async def __call__(self, trail: Trail, repo_id: str) -> int:
        """The number of the endpoint, started now or before; it need not be ready. Errors of the tree."""
        ...


class Lookups(Protocol):
    """What is asked of the database (`Ledger`)."""

    async def keys_of_repository(self, repository: str) -> Sequence[str]: ...
    async def all_keys(self) -> Sequence[str]: ...
    async def key_of(self, endpoint_id: int) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _Found:
    at: float
    keys: Sequence[str]


class Directory:
    """Belongs to one event loop. `clock` gives seconds."""

    def __init__(
        self,
        *,
        table: RouteTable,
        lookups: Lookups,
        serverless: Serverless | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._lookups = lookups
        self._serverless = serverless
        self._clock = clock
        self._found: OrderedDict[str, _Found] = OrderedDict()
        self._starting: dict[tuple[str, str, str], asyncio.Task[int]] = {}

    async def by_model(self, model: str, caller: Principal, check: Check) -> Target:
        """The endpoint of that name, or one with that repository. NotFound names what there is."""
        named = await self._table.get(model.lower()) if model.count("/") == 1 else None
        if named is not None and _passes(named, check):
            return named
        served = await self._serving(model, caller, check)
        if served is not None:
            return served
        if named is not None:
            check(named)
        there = [target.label for target in await self.listed(check)]
        more = f" and {len(there) - NAMED} more" if len(there) > NAMED else ""
        known = f"there are {', '.join(there[:NAMED])}{more}" if there else "there is none that you may call"
        raise NotFound(f"`model`: no endpoint is called {model!r} or serves such a repository; {known}.")

    async def by_repository(self, repo_id: str, trail: Trail, check: Check) -> Target:
        """An endpoint that serves it; if none does, one that is started for it. Errors of the tree."""
        found = await self._serving(repo_id, trail.caller, check)
        if found is not None:
            return found
        if self._serverless is None:
            raise NotFound(f"no endpoint serves {repo_id}: `lanza deploy {repo_id}` makes one.")
        if trail.caller.anonymous:
            raise Unauthorized(
                f"no endpoint serves {repo_id}, and starting one needs a token: send one as Bearer."
            )
        key = await self._lookups.key_of(await self._started(trail, repo_id))
        target = None if key is None else await self._table.get(key, newer_than=0.0)
        if target is None:
            raise NotFound(f"the endpoint that was started for {repo_id} is gone again: try once more.")
        self._found.pop(repo_id.lower(), None)
        return target

    async def listed(self, check: Check) -> list[Target]:
        """Those that may be called, by name."""
        keys = await self._keys("", self._lookups.all_keys)
        targets = [await self._table.get(key) for key in keys]
        return [target for target in targets if target is not None and _passes(target, check)]

    async def _serving(self, repo_id: str, caller: Principal, check: Check) -> Target | None:
        keys = await self._keys(repo_id.lower(), lambda: self._lookups.keys_of_repository(repo_id))
        targets = [await self._table.get(key) for key in keys]
        callable_ = [it for it in targets if it is not None and _passes(it, check)]
        return max(callable_, key=lambda it: _preference(it, caller), default=None)

    async def _keys(self, name: str, read: Callable[[], Awaitable[Sequence[str]]]) -> Sequence[str]:
        found = self._found.get(name)
        if found is None or self._clock() - found.at >= FRESH:
            asked = self._clock()
            found = self._found[name] = _Found(asked, await read())
            if len(self._found) > MOST:
                self._found.popitem(last=False)
        return found.keys

    async def _started(self, trail: Trail, repo_id: str) -> int:
        """One start for all who ask with the same token at once, or have looked before it was there."""
        assert self._serverless is not None
        asking = (trail.caller.name, trail.caller.token_name, repo_id.lower())
        task = self._starting.get(asking)
        if task is None:
            task = asyncio.create_task(_awaited(self._serverless(trail, repo_id)))
            self._starting[asking] = task
            task.add_done_callback(lambda done: self._forget(asking, done))
        return await asyncio.shield(task)

    def _forget(self, asking: tuple[str, str, str], done: asyncio.Task[int]) -> None:
        failed = done.cancelled() or done.exception() is not None
        after = 0.0 if failed else FRESH
        asyncio.get_running_loop().call_later(after, self._starting.pop, asking, None)


async def _awaited(number: Awaitable[int]) -> int:
    return await number


def _passes(target: Target, check: Check) -> bool:
    try:
        check(target)
    except LanzaError:
        return False
    return True


def _preference(target: Target, caller: Principal) -> tuple[bool, bool, bool, float]:
    return (
        target.state not in (State.PAUSED, State.FAILED),
        target.namespace.lower() == caller.name.lower(),
        bool(target.places),
        target.created_at.timestamp(),
    )
