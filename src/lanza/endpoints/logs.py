"""What the replicas of an endpoint say: the lines that are kept, and then, if asked, those that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from lanza.endpoints.platform import Platform
from lanza.endpoints.records import Replica


async def lines(
    platforms: Mapping[str, Platform], replicas: Sequence[Replica], *, follow: bool = False
) -> AsyncIterator[str]:
    """The lines of all of these replicas, each with the replica's id in front when there are several.

    Without `follow` they come one replica after the other, with it as they are said.
    """
    sources = [(it.id, platforms[it.platform]) for it in replicas if it.platform in platforms]
    if not follow:
        for replica, platform in sources:
            async for line in platform.logs(replica):
                yield _marked(line, replica, len(sources))
        return
    async for line in _together(sources):
        yield line


async def _together(sources: Sequence[tuple[str, Platform]]) -> AsyncIterator[str]:
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
