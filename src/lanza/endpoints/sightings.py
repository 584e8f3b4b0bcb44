"""The rows of replicas brought to what is seen of them: phases, addresses, time to be paid, failures.

The model: a platform's `Sight` is true, but for one thing: a replica that was told to drain drains, whatever
is seen of it yet. One that is gone is charged up to its end, and its row removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from lanza.endpoints import points, usage
from lanza.endpoints.decide import MOST_FAILURES
from lanza.endpoints.plan import Plan
from lanza.endpoints.platform import Sight
from lanza.endpoints.records import Endpoint, Replica
from lanza.endpoints.states import Phase

ACCOUNT_EVERY: Final = timedelta(seconds=5)
STEADY: Final = timedelta(seconds=60)
"""How long a replica has to be ready for its revision's failures to be forgotten."""
LOST_AFTER: Final = timedelta(seconds=5)
"""How long a replica that was to be started may be unknown to its platform."""
LONGEST_MESSAGE: Final = 4000

_NEVER: Final = timedelta(0)


def replicas_of(session: Session, endpoints: Iterable[Endpoint]) -> dict[int, list[Replica]]:
    """By the endpoint's number, the oldest first."""
    numbers = [it.id for it in endpoints]
    found: dict[int, list[Replica]] = {}
    ordered = select(Replica).where(Replica.endpoint_id.in_(numbers)).order_by(Replica.started_at, Replica.id)
    for row in session.scalars(ordered):
        found.setdefault(row.endpoint_id, []).append(row)
    return found


def note(
    session: Session,
    plan: Plan,
    endpoint: Endpoint,
    rows: Sequence[Replica],
    sights: Mapping[str, Sight],
    moment: datetime,
) -> list[Replica]:
    """Bring an endpoint's rows to what is seen. Gives those that are left."""
    left = []
    for row in rows:
        sight = sights.get(row.id) or _lost(row, moment)
        if sight is not None and sight.phase is Phase.GONE:
            _bury(session, plan, endpoint, row, sight, moment)
            continue
        left.append(row)
        if not _NEVER <= moment - row.accounted_at < ACCOUNT_EVERY:
            _account(session, endpoint, row, moment)
        if sight is not None:
            _update(plan, endpoint, row, sight, moment)
    steady = [it for it in left if it.revision == endpoint.revision and it.ready_at is not None]
    if endpoint.failures and any(moment - (it.ready_at or moment) > STEADY for it in steady):
        endpoint.failures, endpoint.failed_at, endpoint.failure = 0, None, ""
    return left


def note_strangers(plan: Plan, known: set[str], sights: Mapping[str, Sight]) -> None:
    """End replicas that no row tells of: their endpoint is gone, or the database is an older one."""
    started = {order.id for _, order in plan.start}
    for name, sight in sights.items():
        if name in known or name in started or name in plan.forget:
            continue
        if sight.phase is Phase.GONE:
            plan.forget.append(name)
        else:
            plan.stop[name] = 0.0


def note_failure(endpoint: Endpoint, revision: int, reason: str, moment: datetime) -> None:
    """A replica of `revision` did not start, or ended by itself.

    Only the wanted revision is given up by that. Failures of the one that serves in its stead prolong the
    pause before the next start, so that it is not tried at each look.
    """
    if revision == endpoint.revision:
        endpoint.failures += 1
        endpoint.failure = reason[-LONGEST_MESSAGE:]
    elif endpoint.failures < MOST_FAILURES:
        return
    endpoint.failed_at = moment


def _lost(row: Replica, moment: datetime) -> Sight | None:
    """The end of a replica that its platform does not know, unless it is about to be started."""
    if _NEVER <= moment - row.started_at <= LOST_AFTER:
        return None
    return Sight(id=row.id, phase=Phase.GONE, ended_at=row.accounted_at.timestamp())


def _bury(
    session: Session, plan: Plan, endpoint: Endpoint, row: Replica, sight: Sight, moment: datetime
) -> None:
    ended = row.accounted_at if sight.ended_at is None else datetime.fromtimestamp(sight.ended_at, UTC)
    _account(session, endpoint, row, ended)
    if sight.failed and row.phase != Phase.DRAINING.value:
        note_failure(endpoint, row.revision, sight.reason, moment)
    session.delete(row)
    plan.forget.append(row.id)
    plan.changed.add(endpoint.id)


def _account(session: Session, endpoint: Endpoint, row: Replica, until: datetime) -> None:
    """Charge up to `until`. A clock that was set back costs nothing, and counts on from there."""
    used = usage.replica_time(
        f"{endpoint.namespace}/{endpoint.name}",
        since=row.accounted_at,
        until=until,
        price_per_hour=row.price_per_hour,
    )
    usage.add(session, used)
    if used:
        points.add_cost(session, endpoint.id, until, sum(it.cost for it in used))
    row.accounted_at = until


def _update(plan: Plan, endpoint: Endpoint, row: Replica, sight: Sight, moment: datetime) -> None:
    """A replica that is to drain stays so, whatever its platform sees yet."""
    phase = row.phase if row.phase == Phase.DRAINING.value else sight.phase.value
    if (row.phase, row.address) == (phase, sight.address):
        return
    if phase == Phase.READY.value and row.ready_at is None:
        row.ready_at = moment
    row.phase, row.address = phase, sight.address
    plan.changed.add(endpoint.id)
