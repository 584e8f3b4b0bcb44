"""The rows of replicas brought to what is seen of them: phases, addresses, time to be paid, failures.

The model: a platform's `Sight` is true, but for one thing: a replica that was told to drain drains, whatever
is seen of it yet. One that is gone is charged up to its end, and its row removed.

How one ended that was ready is told by two: its platform says that it ended by itself, workers of the gateway
whether anybody had asked it anything. Their word comes once a second, so it is waited for before the end is
judged: else a request that ends replicas could make an endpoint fail, and whoever may call could send it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from lanza.endpoints import points, store, usage
from lanza.endpoints.decide import MOST_FAILURES
from lanza.endpoints.plan import Plan
from lanza.endpoints.platform import Sight
from lanza.endpoints.records import Endpoint, Replica
from lanza.endpoints.states import Phase

ACCOUNT_EVERY: Final = timedelta(seconds=5)
STEADY: Final = timedelta(seconds=60)
"""How long a replica has to be ready, and nothing to have gone wrong, for what was wrong to be forgotten."""
HEARD_AFTER: Final = timedelta(seconds=2)
"""When workers of the gateway have said what they know of a replica that has ended."""
BROKE_WITHIN: Final = timedelta(seconds=10)
"""How long before or after a replica's end an answer broke off that is thought to have been cut by it."""
FORGOTTEN_AFTER: Final = timedelta(minutes=10)
"""Falls are counted anew after so long without any."""
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
            if not _bury(session, plan, endpoint, row, sight, moment):
                left.append(row)
            continue
        left.append(row)
        if not _NEVER <= moment - row.accounted_at < ACCOUNT_EVERY:
            _account(session, endpoint, row, moment)
        if sight is not None:
            _update(plan, endpoint, row, sight, moment)
    _forget(endpoint, left, moment)
    return left


def _forget(endpoint: Endpoint, rows: Sequence[Replica], moment: datetime) -> None:
    """What was wrong with an endpoint that has been well for a while."""
    steady = [
        it
        for it in rows
        if it.phase == Phase.READY.value and it.ready_at is not None and moment - it.ready_at > STEADY
    ]
    if steady and endpoint.falls and _is_past(endpoint.fell_at, moment, STEADY):
        store.forget_falls(endpoint)
    wanted = any(it.revision == endpoint.revision for it in steady)
    if wanted and endpoint.failures and _is_past(endpoint.failed_at, moment, STEADY):
        store.forget_failures(endpoint)


def _is_past(noted: datetime | None, moment: datetime, span: timedelta) -> bool:
    """Whether it is longer ago than `span`; or in what is the future now that a clock was set."""
    return noted is None or not _NEVER <= moment - noted <= span


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


def note_failure(
    endpoint: Endpoint, revision: int, reason: str, moment: datetime, *, killed: bool = False
) -> None:
    """A replica of `revision` did not start, or ended soon after and without having been asked.

    Only the wanted revision is given up by that. Failures of the one that serves in its stead prolong the
    pause before the next start, so that it is not tried at each look.
    """
    if revision == endpoint.revision:
        endpoint.failures += 1
        endpoint.killed += killed
        endpoint.failure = reason[-LONGEST_MESSAGE:]
    elif endpoint.failures < MOST_FAILURES:
        return
    endpoint.failed_at = moment


def _note_fall(endpoint: Endpoint, reason: str, moment: datetime, *, answering: bool) -> None:
    """A replica that had served ended by itself."""
    if not endpoint.falls or _is_past(endpoint.fell_at, moment, FORGOTTEN_AFTER):
        endpoint.falls, endpoint.fell_since = 0, moment
    endpoint.falls += 1
    endpoint.fell_at = moment
    endpoint.fall = f"{'while it answered' if answering else 'by itself'}: {reason[-LONGEST_MESSAGE:]}"


def _lost(row: Replica, moment: datetime) -> Sight | None:
    """The end of a replica that its platform does not know, unless it is about to be started."""
    if _NEVER <= moment - row.started_at <= LOST_AFTER:
        return None
    return Sight(id=row.id, phase=Phase.GONE, ended_at=row.accounted_at.timestamp())


def _bury(
    session: Session, plan: Plan, endpoint: Endpoint, row: Replica, sight: Sight, moment: datetime
) -> bool:
    """Deal with the end of a replica; False while it cannot be judged yet."""
    ended = row.accounted_at if sight.ended_at is None else datetime.fromtimestamp(sight.ended_at, UTC)
    _account(session, endpoint, row, ended)
    plan.changed.add(endpoint.id)
    if sight.failed and row.phase != Phase.DRAINING.value:
        broke = row.broke_at is not None and abs(row.broke_at - ended) <= BROKE_WITHIN
        if row.ready_at is not None and not broke and _NEVER <= moment - ended < HEARD_AFTER:
            row.phase, row.address = Phase.GONE.value, None
            return False
        if row.ready_at is not None and (broke or row.asked or ended - row.ready_at > STEADY):
            _note_fall(endpoint, sight.reason, moment, answering=broke)
        else:
            note_failure(endpoint, row.revision, sight.reason, moment, killed=sight.killed)
    session.delete(row)
    plan.forget.append(row.id)
    return True


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
        if row.revision == endpoint.revision and endpoint.killed:  # then it was not its own doing
            endpoint.failures, endpoint.killed = endpoint.failures - endpoint.killed, 0
    row.phase, row.address = phase, sight.address
    plan.changed.add(endpoint.id)
