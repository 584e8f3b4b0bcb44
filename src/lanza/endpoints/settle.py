"""What one look of the loop writes: what was seen, what was decided, what it cost; and the plan to act on.

The model: `settle` is one transaction. Within it no wish of a person is overwritten, for their changes wait
for it or it for them. What it remembers between looks (load, calm, room) may be lost at any time.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from lanza.database import Database
from lanza.endpoints import loads, store, usage
from lanza.endpoints.autoscale import Load, Wanted, desired_replicas, wanted_now
from lanza.endpoints.decide import MOST_FAILURES, Decision, Failures, Money, Seen, SeenReplica, decide
from lanza.endpoints.notices import Event, Notice
from lanza.endpoints.orders import order_for
from lanza.endpoints.platform import Order, Sight
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.secrets import Vault
from lanza.endpoints.spec import EndpointSpec
from lanza.endpoints.states import LIVE, Intent, Phase, State

ACCOUNT_EVERY: Final = timedelta(seconds=5)
STEADY: Final = timedelta(seconds=60)
"""How long a replica has to be ready for its revision's failures to be forgotten."""
LOST_AFTER: Final = timedelta(seconds=5)
"""How long a replica that was to be started may be unknown to its platform."""
AVERAGED: Final = 20.0
"""Seconds over which pending requests are averaged."""
TRY_ROOM_EVERY: Final = 2.0
DRAIN: Final = 30.0
LONGEST_MESSAGE: Final = 4000


@dataclass(kw_only=True)
class Plan:
    """What is to be done once it is written. `busy`: somebody waits for the next look."""

    start: list[tuple[str, Order]] = field(default_factory=list)
    stop: dict[str, float] = field(default_factory=dict)
    forget: list[str] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)
    busy: bool = False


class Folders:
    """Folders of repositories: those that are there, why others are not, and the wish for one."""

    def __init__(self) -> None:
        self.ready: dict[tuple[int, str], Path] = {}
        self.errors: dict[tuple[int, str], str] = {}

    def request(self, repo_id: int, commit: str) -> None:
        """Begin to fetch one, unless that is under way. Returns at once."""
        raise NotImplementedError


@dataclass(kw_only=True)
class _Memory:
    """What is remembered of an endpoint. `samples` are moments and requests that were pending then."""

    known_since: float
    wanted: deque[Wanted] = field(default_factory=lambda: deque(maxlen=4000))
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=200))
    no_room: str = ""
    no_room_at: float = 0.0


class Settler:
    """Called by one loop, never twice at once."""

    def __init__(
        self, *, database: Database, vault: Vault, folders: Folders, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._vault = vault
        self._folders = folders
        self._clock = clock
        self._memory: dict[int, _Memory] = {}

    def settle(self, sights: Mapping[str, Sight]) -> Plan:
        """Note what is seen, decide, write. Raises what the database raises; then nothing has changed."""
        moment = datetime.fromtimestamp(self._clock(), UTC)
        plan = Plan()
        with self._database.writing() as session:
            endpoints = _needing_attention(session, moment)
            rows = _replicas_of(session, endpoints)
            pending = loads.pending_of(session, [it.id for it in endpoints], moment)
            for endpoint in endpoints:
                mine = self._note(session, plan, endpoint, rows.get(endpoint.id, []), sights, moment)
                load = pending.get(endpoint.id, loads.Pending())
                self._decide(session, plan, endpoint, mine, sights, load, moment)
            known = {it.id for mine in rows.values() for it in mine}
            _end_strangers(plan, known, sights)
        self._memory = {it.id: self._memory[it.id] for it in endpoints if it.id in self._memory}
        return plan

    # What is seen

    def _note(
        self,
        session: Session,
        plan: Plan,
        endpoint: Endpoint,
        rows: Sequence[Replica],
        sights: Mapping[str, Sight],
        moment: datetime,
    ) -> list[Replica]:
        """Bring rows to what is seen of them; those that are gone are charged and removed."""
        left = []
        for row in rows:
            sight = sights.get(row.id)
            if sight is None and moment - row.started_at > LOST_AFTER:
                sight = Sight(id=row.id, phase=Phase.GONE, ended_at=row.accounted_at.timestamp())
            if sight is not None and sight.phase is Phase.GONE:
                self._bury(session, plan, endpoint, row, sight)
                continue
            left.append(row)
            if moment - row.accounted_at >= ACCOUNT_EVERY:
                _account(session, endpoint, row, moment)
            if sight is not None:
                _update(plan, endpoint, row, sight, moment)
        steady = [it for it in left if it.revision == endpoint.revision and it.ready_at is not None]
        if endpoint.failures and any(moment - (it.ready_at or moment) > STEADY for it in steady):
            endpoint.failures, endpoint.failed_at, endpoint.failure = 0, None, ""
        return left

    def _bury(self, session: Session, plan: Plan, endpoint: Endpoint, row: Replica, sight: Sight) -> None:
        ended = row.accounted_at if sight.ended_at is None else datetime.fromtimestamp(sight.ended_at, UTC)
        _account(session, endpoint, row, ended)
        if sight.failed and row.phase != Phase.DRAINING.value and row.revision == endpoint.revision:
            self._fail(endpoint, sight.reason)
        session.delete(row)
        plan.forget.append(row.id)
        plan.changed.add(endpoint.id)

    def _fail(self, endpoint: Endpoint, reason: str, *, for_good: bool = False) -> None:
        endpoint.failures = MOST_FAILURES if for_good else endpoint.failures + 1
        endpoint.failed_at = datetime.fromtimestamp(self._clock(), UTC)
        endpoint.failure = reason[-LONGEST_MESSAGE:]

    # What is decided

    def _decide(
        self,
        session: Session,
        plan: Plan,
        endpoint: Endpoint,
        rows: Sequence[Replica],
        sights: Mapping[str, Sight],
        pending: loads.Pending,
        moment: datetime,
    ) -> None:
        revision = store.current(session, endpoint)
        spec = store.spec_of(revision)
        seen = self._seen(session, endpoint, spec, rows, sights, pending, moment)
        decision = decide(seen, moment.timestamp())
        self._warn(plan, endpoint, spec, seen.money, moment)
        self._write(session, plan, endpoint, spec, decision, moment)
        self._stop(plan, endpoint, rows, spec, decision)
        if not decision.removed:
            self._start(session, plan, endpoint, decision, moment)
        plan.busy = plan.busy or bool(rows or decision.start or endpoint.failures)

    def _seen(
        self,
        session: Session,
        endpoint: Endpoint,
        spec: EndpointSpec,
        rows: Sequence[Replica],
        sights: Mapping[str, Sight],
        pending: loads.Pending,
        moment: datetime,
    ) -> Seen:
        at = moment.timestamp()
        memory = self._memory.setdefault(endpoint.id, _Memory(known_since=at))
        if memory.no_room and not memory.no_room_at <= at < memory.no_room_at + TRY_ROOM_EVERY:
            memory.no_room = ""
        load = _load(memory, rows, sights, pending, at)
        ready = sum(it.phase == Phase.READY.value for it in rows)
        live = sum(it.phase in LIVE for it in rows)
        scaling = spec.compute.scaling
        memory.wanted.append(wanted_now(load, scaling, ready=ready, now=at))
        return Seen(
            intent=Intent(endpoint.intent),
            revision=endpoint.revision,
            serving=endpoint.serving,
            scaling=scaling,
            desired=desired_replicas(
                memory.wanted, scaling, current=live, known_since=memory.known_since, now=at
            ),
            replicas=[_as_seen(it) for it in rows],
            idle=_idle(endpoint, rows, load, at),
            money=_money(session, endpoint, spec, moment),
            failures=Failures(
                count=endpoint.failures,
                last=endpoint.failed_at.timestamp() if endpoint.failed_at else 0.0,
                reason=endpoint.failure,
            ),
            expires=endpoint.expires_at.timestamp() if endpoint.expires_at else None,
            no_room=memory.no_room,
        )

    def _warn(
        self, plan: Plan, endpoint: Endpoint, spec: EndpointSpec, money: Money, moment: datetime
    ) -> None:
        if not money.warns or money.over or spec.budget is None:
            return
        period = usage.period_start(spec.budget.period, moment) or "total"
        if endpoint.warned == period:
            return
        endpoint.warned = period
        said = f"{money.spent:.2f} of {money.budget:.2f} dollars are spent"
        plan.notices.append(_notice(Event.BUDGET_WARNING, endpoint, spec, said))

    def _write(
        self,
        session: Session,
        plan: Plan,
        endpoint: Endpoint,
        spec: EndpointSpec,
        decision: Decision,
        moment: datetime,
    ) -> None:
        if event := _event(endpoint, decision):
            plan.notices.append(_notice(event, endpoint, spec, decision.message))
        if decision.removed:
            session.delete(endpoint)
            plan.changed.add(endpoint.id)
            return
        before = (endpoint.state, endpoint.intent, endpoint.message, endpoint.serving)
        if decision.intent is not None:
            endpoint.intent = decision.intent.value
        if decision.proven is not None:
            endpoint.serving, endpoint.proven_at = decision.proven, moment
        endpoint.state = decision.state.value
        if decision.message or endpoint.state not in (State.PAUSED.value, State.SCALED_TO_ZERO.value):
            endpoint.message = decision.message
        if before != (endpoint.state, endpoint.intent, endpoint.message, endpoint.serving):
            plan.changed.add(endpoint.id)

    def _stop(
        self,
        plan: Plan,
        endpoint: Endpoint,
        rows: Sequence[Replica],
        spec: EndpointSpec,
        decision: Decision,
    ) -> None:
        """Those that are to drain are told so at each look: the wish may have been lost with a server."""
        for row in rows:
            if row.id in decision.stop:
                row.phase = Phase.DRAINING.value
                plan.changed.add(endpoint.id)
            if row.phase == Phase.DRAINING.value:
                plan.stop[row.id] = min(DRAIN, spec.deadline)

    def _start(
        self, session: Session, plan: Plan, endpoint: Endpoint, decision: Decision, moment: datetime
    ) -> None:
        for number in decision.start:
            revision = store.revision_of(session, endpoint, number)
            folder = self._folder_of(endpoint, revision)
            if revision.repo_id is not None and folder is None:
                return
            spec = store.spec_of(revision)
            opened = self._vault.open(revision.secrets, place=store.place_of(endpoint, number))
            order = order_for(endpoint, revision, spec, secrets.token_hex(8), folder, opened)
            session.add(
                Replica(
                    id=order.id,
                    endpoint_id=endpoint.id,
                    revision=number,
                    platform=spec.platform,
                    phase=Phase.STARTING.value,
                    price_per_hour=order.instance.price_per_hour,
                    started_at=moment,
                    accounted_at=moment,
                )
            )
            plan.start.append((spec.platform, order))

    def _folder_of(self, endpoint: Endpoint, revision: Revision) -> Path | None:
        """The folder, if it is there; else the wish for it is noted, or the reason why there is none."""
        if revision.repo_id is None:
            return None
        key = (revision.repo_id, revision.commit)
        folder = self._folders.ready.get(key)
        if folder is not None and folder.is_dir():
            return folder
        if reason := self._folders.errors.pop(key, ""):
            self._fail(endpoint, reason)
        else:
            self._folders.request(*key)
        return None

    # What came of acting

    def refused(self, order: Order, reason: str) -> None:
        """There was no room for a replica: its row goes, and the next try waits."""
        with self._database.writing() as session:
            row = session.get(Replica, order.id)
            if row is None:
                return
            memory = self._memory.setdefault(row.endpoint_id, _Memory(known_since=self._clock()))
            memory.no_room, memory.no_room_at = reason, self._clock()
            session.delete(row)

    def failed_to_start(self, order: Order, reason: str) -> None:
        """A replica could not even be begun: that counts as one that did not become ready."""
        with self._database.writing() as session:
            row = session.get(Replica, order.id)
            endpoint = session.get(Endpoint, row.endpoint_id) if row is not None else None
            if row is None or endpoint is None:
                return
            if row.revision == endpoint.revision:
                self._fail(endpoint, reason)
            session.delete(row)


def _needing_attention(session: Session, moment: datetime) -> Sequence[Endpoint]:
    """All but those that are at rest, have no replicas, and have not expired."""
    active = Endpoint.intent.in_((Intent.RUN.value, Intent.REMOVE.value))
    has_replicas = exists().where(Replica.endpoint_id == Endpoint.id)
    wanted = select(Endpoint).where(or_(active, has_replicas, Endpoint.expires_at <= moment))
    return session.scalars(wanted.order_by(Endpoint.id).with_for_update()).all()


def _replicas_of(session: Session, endpoints: Iterable[Endpoint]) -> dict[int, list[Replica]]:
    numbers = [it.id for it in endpoints]
    found: dict[int, list[Replica]] = {}
    ordered = select(Replica).where(Replica.endpoint_id.in_(numbers)).order_by(Replica.started_at, Replica.id)
    for row in session.scalars(ordered):
        found.setdefault(row.endpoint_id, []).append(row)
    return found


def _end_strangers(plan: Plan, known: set[str], sights: Mapping[str, Sight]) -> None:
    """Replicas that no row tells of: their endpoint is gone, or the database is an older one."""
    started = {order.id for _, order in plan.start}
    for name, sight in sights.items():
        if name in known or name in started or name in plan.forget:
            continue
        if sight.phase is Phase.GONE:
            plan.forget.append(name)
        else:
            plan.stop[name] = 0.0


def _account(session: Session, endpoint: Endpoint, row: Replica, until: datetime) -> None:
    until = max(until, row.accounted_at)
    used = usage.replica_time(
        f"{endpoint.namespace}/{endpoint.name}",
        since=row.accounted_at,
        until=until,
        price_per_hour=row.price_per_hour,
    )
    usage.add(session, [used])
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


def _load(
    memory: _Memory,
    rows: Sequence[Replica],
    sights: Mapping[str, Sight],
    pending: loads.Pending,
    at: float,
) -> Load:
    memory.samples.append((at, pending.in_flight + pending.held))
    recent = [count for moment, count in memory.samples if at - AVERAGED < moment <= at]
    used = [sights[it.id].cpu for it in rows if it.phase == Phase.READY.value and it.id in sights]
    return Load(
        in_flight=pending.in_flight,
        held=pending.held,
        average=sum(recent) / len(recent) if recent else 0.0,
        cpu=sum(used) / len(used) if used else 0.0,
    )


def _idle(endpoint: Endpoint, rows: Sequence[Replica], load: Load, at: float) -> float:
    """Seconds since anything happened that says it is in use."""
    if load.pending:
        return 0.0
    ready = [it.ready_at for it in rows]
    moments = [endpoint.created_at, endpoint.woke_at, endpoint.proven_at, endpoint.last_request_at, *ready]
    return max(0.0, at - max(it.timestamp() for it in moments if it is not None))


def _money(session: Session, endpoint: Endpoint, spec: EndpointSpec, moment: datetime) -> Money:
    if spec.budget is None:
        return Money()
    spent = usage.spent(session, f"{endpoint.namespace}/{endpoint.name}", spec.budget, moment)
    return Money(spent=spent, budget=spec.budget.amount, period=spec.budget.period)


def _as_seen(row: Replica) -> SeenReplica:
    return SeenReplica(
        id=row.id, revision=row.revision, phase=Phase(row.phase), since=row.started_at.timestamp()
    )


def _event(endpoint: Endpoint, decision: Decision) -> Event | None:
    """What is new and worth telling."""
    if decision.intent is Intent.PAUSE:
        return Event.BUDGET_REACHED
    if decision.intent is Intent.REMOVE:
        return Event.EXPIRED
    if endpoint.state == decision.state.value:
        return None
    return {State.FAILED: Event.FAILED, State.UPDATE_FAILED: Event.UPDATE_FAILED}.get(decision.state)


def _notice(event: Event, endpoint: Endpoint, spec: EndpointSpec, message: str) -> Notice:
    name = f"{endpoint.namespace}/{endpoint.name}"
    return Notice(event=event, endpoint=name, message=message, webhook=spec.webhook)
