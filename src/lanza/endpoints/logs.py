"""What the replicas of an endpoint say: the lines that are kept, and then, if asked, those that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from lanza.endpoints.platform import Platform
from lanza.endpoints.records import Replica
from lanza.errors import NotFound

Source = tuple[str, Platform]
"""A replica, and where it runs or ran."""


def sources(
    platforms: Mapping[str, Platform], endpoint: str, replicas: Sequence[Replica], wanted: str | None
) -> list[Source]:
    """Those of an endpoint's replicas, or the one that is wanted; of none, the last that ended. NotFound."""
    running = [(it.id, platforms[it.platform]) for it in replicas if it.platform in platforms]
    ended = [(name, it) for it in platforms.values() for name in it.ended(endpoint)]
    if wanted is None:
        return running or ended[:1]
    found = [it for it in (*running, *ended) if it[0] == wanted]
    if not found:
        known = ", ".join(name for name, _ in (*running, *ended)) or "none"
        raise NotFound(f"{endpoint} has no replica {wanted!r} of which anything is kept; there is: {known}.")
    return found


async def lines(sources: Sequence[Source], *, follow: bool = False) -> AsyncIterator[str]:
    """What they say, each line with the replica's id in front when there are several.

    Without `follow` they come one replica after the other, with it as they are said.
    """
    if not follow:
        for replica, platform in sources:
            async for line in platform.logs(replica):
                yield _marked(line, replica, len(sources))
        return
    async for line in _together(sources):
        yield line


async def _together(sources: Sequence[Source]) -> AsyncIterator[str]:
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1000)

    async def read(replica: str, platform: Platform) -> None:
        try:
            async for line in platform.logs(replica, follow=True):
                await queue.put(_marked(line, replica, len(sources)))
        finally:
            await queue.put(None)

    tasks = [asyncio.create_task(read(*source)) for source in sources]
    try:
        left = len(tasks)
        while left:
            line = await queue.get()
            if line is None:
                left -= 1
            else:
                yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _marked(line: str, replica: str, of: int) -> str:
    return line if of == 1 else f"{replica[:8]} {line}"
