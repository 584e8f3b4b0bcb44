"""The gateway's side of the database: what it reads, on its own threads; what it counted, written in one go.

The threads are few and nobody else's, so that a slow database holds up neither the event loop nor the Hub.
Some are for writing and others for reading: SQLite's lock, which is waited for, keeps nobody from reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy import case
from sqlalchemy.orm import Session

from lanza.database import Database, insert_into
from lanza.endpoints import loads, store, usage
from lanza.endpoints.records import Endpoint, Point
from lanza.gateway.meter import Batch, Minute
from lanza.gateway.targets import Target, all_keys, key_of, keys_of_repository, read_targets

READERS: Final = 3
WRITERS: Final = 2

T = TypeVar("T")


class Ledger:
    """Asynchronous, for one event loop; each call is one transaction. Raises SQLAlchemy's errors."""

    def __init__(self, database: Database, *, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="lanza-gateway")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="lanza-ledger")

    async def on_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """For what may ask the database and is no part of this."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    async def targets(self, keys: Collection[str]) -> Mapping[str, Target]:
        return await self._reading(read_targets, keys)

    async def keys_of_repository(self, repository: str) -> Sequence[str]:
        return await self._reading(keys_of_repository, repository)

    async def all_keys(self) -> Sequence[str]:
        return await self._reading(all_keys)

    async def key_of(self, endpoint_id: int) -> str | None:
        return await self._reading(key_of, endpoint_id)

    async def wake(self, endpoint_id: int) -> bool:
        """Whether it was this call that started it."""
        moment = datetime.now(UTC)
        return await self._writing(store.wake, endpoint_id, moment)

    async def write(self, batch: Batch) -> None:
        await self._writing(_write, self._worker, batch)

    def close(self) -> None:
        for threads in (self._readers, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _reading(self, work: Callable[..., T], *arguments: Any) -> T:
        def read() -> T:
            with self._database.reading() as session:
                return work(session, *arguments)

        return await self.on_thread(read)

    async def _writing(self, work: Callable[..., T], *arguments: Any) -> T:
        def write() -> T:
            with self._database.writing() as session:
                return work(session, *arguments)

        return await asyncio.get_running_loop().run_in_executor(self._writers, write)


def _write(session: Session, worker: str, batch: Batch) -> None:
    usage.add(session, batch.used)
    _add_points(session, batch.minutes)
    moment = datetime.now(UTC)
    loads.report(session, worker, batch.pending, batch.last_requests, moment)
    store.note_asked(session, batch.marks.asked, batch.marks.broke, moment)


def _add_points(session: Session, minutes: Sequence[Minute]) -> None:
    """Add to the points of charts. Endpoints that are gone have none any more."""
    if not minutes:
        return
    numbers = {it.endpoint_id for it in minutes}
    known = {row.id for row in session.query(Endpoint.id).where(Endpoint.id.in_(numbers))}
    columns = Point.__table__.c
    for one in minutes:
        if one.endpoint_id not in known:
            continue
        statement = insert_into(session, Point).values(
            endpoint_id=one.endpoint_id,
            minute=one.minute,
            requests=one.sums.requests,
            errors=one.sums.errors,
            seconds=one.sums.seconds,
            slowest=one.sums.slowest,
            replicas=one.ready,
            cost=0.0,
        )
        added = {name: columns[name] + statement.excluded[name] for name in ("requests", "errors", "seconds")}
        most = {
            name: case(
                (columns[name] > statement.excluded[name], columns[name]), else_=statement.excluded[name]
            )
            for name in ("slowest", "replicas")
        }
        session.execute(
            statement.on_conflict_do_update(index_elements=["endpoint_id", "minute"], set_=added | most)
        )
