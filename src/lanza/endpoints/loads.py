"""What the workers of the gateway have under way: written by each once a second, summed by the loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from lanza.endpoints.records import Endpoint, WorkerLoad

FRESH: Final = timedelta(seconds=5)
"""How long a worker's word is believed. One that is silent for longer is dead, with nothing under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """Requests with replicas, and those held for one."""

    in_flight: int = 0
    held: int = 0


def report(
    session: Session,
    worker: str,
    pending: dict[int, Pending],
    last_requests: dict[int, datetime],
    moment: datetime,
) -> None:
    """Replace what `worker` said before; note when each endpoint was asked last."""
    session.execute(delete(WorkerLoad).where(WorkerLoad.worker == worker))
    known = set(session.scalars(select(Endpoint.id).where(Endpoint.id.in_([*pending, *last_requests]))))
    session.add_all(
        WorkerLoad(worker=worker, endpoint_id=number, in_flight=one.in_flight, held=one.held, at=moment)
        for number, one in pending.items()
        if number in known and (one.in_flight or one.held)
    )
    for number, asked in last_requests.items():
        older = (Endpoint.last_request_at.is_(None)) | (Endpoint.last_request_at < asked)
        session.execute(update(Endpoint).where(Endpoint.id == number, older).values(last_request_at=asked))


def pending_of(session: Session, endpoints: Iterable[int], moment: datetime) -> dict[int, Pending]:
    """The sums over all workers that are alive. An endpoint that is not named has nothing under way."""
    sums = (
        select(WorkerLoad.endpoint_id, func.sum(WorkerLoad.in_flight), func.sum(WorkerLoad.held))
        .where(WorkerLoad.endpoint_id.in_(list(endpoints)), WorkerLoad.at > moment - FRESH)
        .group_by(WorkerLoad.endpoint_id)
    )
    rows = session.execute(sums)
    return {number: Pending(in_flight=int(flying), held=int(held)) for number, flying, held in rows}
