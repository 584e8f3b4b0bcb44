"""What one look of the loop writes: what was seen, what was decided, what it cost; and the plan to act on.

The model: `settle` is one transaction. Within it no wish of a person is overwritten, for their changes wait
for it or it for them. What it remembers between looks (`memory.py`) may be lost at any time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from lanza.auth import audit
from lanza.database import Database
from lanza.endpoints import loads, notices, sightings, store, usage
from lanza.endpoints.autoscale import Load
from lanza.endpoints.decide import Decision, Failures, Falls, Money, Seen, SeenReplica, decide
from lanza.endpoints.looks import Look, Looks
from lanza.endpoints.memory import Memory
from lanza.endpoints.orders import order_for
from lanza.endpoints.plan import Folders, Plan
from lanza.endpoints.platform import Order, Sight
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.secrets import Vault
from lanza.endpoints.spec import EndpointSpec
from lanza.endpoints.states import Intent, Phase, State

DRAIN: Final = 30.0
"""Seconds that requests get which are under way when a replica is stopped."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One look, at all endpoints."""

    session: Session
    plan: Plan
    sights: Mapping[str, Sight]
    when: Look

    @property
    def moment(self) -> datetime:
        return self.when.moment

    @property
    def at(self) -> float:
        return self.moment.timestamp()


class Settler:
    """Called by one loop, never twice at once. `clock` gives seconds since 1970, `steady` is never set."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        folders: Folders,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._vault = vault
        self._folders = folders
        self._clock = clock
        self._looks = Looks(clock, steady)
        self._memory: dict[int, Memory] = {}

    def settle(self, sights: Mapping[str, Sight]) -> Plan:
        """Note what is seen, decide, write. Raises what the database raises; then nothing has changed."""
        when, plan = self._looks.begin(), Plan()
        with self._database.writing() as session:
            look = _Look(session=session, plan=plan, sights=sights, when=when)
            endpoints = _needing_attention(session, when.moment)
            rows = sightings.replicas_of(session, endpoints)
            pending = loads.pending_of(session, [it.id for it in endpoints], when.moment)
            for endpoint in endpoints:
                mine = rows.get(endpoint.id, [])
                self._settle(look, endpoint, mine, pending.get(endpoint.id, loads.Pending()))
            known = {it.id for mine in rows.values() for it in mine}
            sightings.note_strangers(plan, known, sights)
        self._memory = {it.id: self._memory[it.id] for it in endpoints}
        self._looks.done(when)
        return plan

    def _settle(
        self, look: _Look, endpoint: Endpoint, before: Sequence[Replica], pending: loads.Pending
    ) -> None:
        memory = self._remember(endpoint.id, look.at)
        look.when.move(endpoint, "woke_at", "proven_at", "last_request_at", "failed_at")
        look.when.move(endpoint, "fell_since", "fell_at")
        for row in before:
            look.when.move(row, "started_at", "ready_at", "accounted_at", "broke_at")
        rows = sightings.note(look.session, look.plan, endpoint, before, look.sights, look.moment)
        if len(rows) < len(before):
            memory.make_room()
        spec = store.spec_of(store.current(look.session, endpoint))
        load = memory.load(rows, look.sights, pending, look.at)
        seen = _seen(look, endpoint, spec, rows, load, memory)
        decision = decide(seen, look.at)
        look.plan.notices += notices.news(endpoint, spec, decision, seen.money, look.moment)
        _write(look, endpoint, decision)
        _stop(look, endpoint, spec, rows, decision)
        if not decision.removed:
            self._start(look, endpoint, decision)
        troubled = bool(endpoint.failures or endpoint.falls)
        look.plan.busy = look.plan.busy or troubled or bool(rows or decision.start)

    def _remember(self, number: int, at: float) -> Memory:
        memory = self._memory.get(number)
        if memory is None or memory.is_later(at):
            memory = self._memory[number] = Memory(known_since=at)
        return memory

    def _start(self, look: _Look, endpoint: Endpoint, decision: Decision) -> None:
        for number in decision.start:
            revision = store.revision_of(look.session, endpoint, number)
            folder = self._folder_of(endpoint, revision, look.moment)
            if revision.repo_id is not None and folder is None:
                return
            spec = store.spec_of(revision)
            opened = self._vault.open(revision.secrets, place=store.place_of(endpoint, number))
            order = order_for(endpoint, revision, spec, secrets.token_hex(8), folder, opened)
            look.session.add(
                Replica(
                    id=order.id,
                    endpoint_id=endpoint.id,
                    revision=number,
                    platform=spec.platform,
                    phase=Phase.STARTING.value,
                    price_per_hour=order.instance.price_per_hour,
                    started_at=look.moment,
                    accounted_at=look.moment,
                )
            )
            look.plan.start.append((spec.platform, order))

    def _folder_of(self, endpoint: Endpoint, revision: Revision, moment: datetime) -> Path | None:
        """The folder, if it is there; else the wish for it is noted, or the reason why there is none."""
        if revision.repo_id is None:
            return None
        key = (revision.repo_id, revision.commit, store.base_of(revision))
        stock = self._folders.ready.get(key)
        if stock is not None and stock.folder.is_dir():
            if revision.base is None and stock.base is not None:  # it came here just now
                revision.base = asdict(stock.base)
            return stock.folder
        if reason := self._folders.errors.pop(key, ""):
            sightings.note_failure(endpoint, revision.number, reason, moment)
        else:
            self._folders.request(key)
        return None

    # What came of acting

    def refused(self, order: Order, reason: str) -> None:
        """There was no room for a replica: its row goes, and the next try waits."""
        with self._database.writing() as session:
            row = session.get(Replica, order.id)
            if row is None:
                return
            at = self._clock()
            self._remember(row.endpoint_id, at).refuse(reason, at)
            session.delete(row)

    def failed_to_start(self, order: Order, reason: str) -> None:
        """A replica could not even be begun: that counts as one that did not become ready."""
        with self._database.writing() as session:
            row = session.get(Replica, order.id)
            endpoint = session.get(Endpoint, row.endpoint_id) if row is not None else None
            if row is None or endpoint is None:
                return
            moment = datetime.fromtimestamp(self._clock(), UTC)
            sightings.note_failure(endpoint, row.revision, reason, moment)
            session.delete(row)


def _needing_attention(session: Session, moment: datetime) -> Sequence[Endpoint]:
    """All but those that are at rest, have no replicas, and have not expired."""
    active = Endpoint.intent.in_((Intent.RUN.value, Intent.REMOVE.value))
    has_replicas = exists().where(Replica.endpoint_id == Endpoint.id)
    wanted = select(Endpoint).where(or_(active, has_replicas, Endpoint.expires_at <= moment))
    return session.scalars(wanted.order_by(Endpoint.id).with_for_update()).all()


def _seen(
    look: _Look,
    endpoint: Endpoint,
    spec: EndpointSpec,
    rows: Sequence[Replica],
    load: Load,
    memory: Memory,
) -> Seen:
    return Seen(
        intent=Intent(endpoint.intent),
        revision=endpoint.revision,
        serving=endpoint.serving,
        scaling=spec.compute.scaling,
        desired=memory.desired(load, rows, spec.compute.scaling, look.at),
        replicas=[_as_seen(it) for it in rows],
        idle=_idle(endpoint, rows, load, look.at) if look.when.informed else 0.0,
        money=_money(look, endpoint, spec),
        failures=Failures(
            count=endpoint.failures,
            killed=endpoint.killed,
            last=_seconds(endpoint.failed_at),
            reason=endpoint.failure,
        ),
        falls=Falls(
            count=endpoint.falls,
            since=_seconds(endpoint.fell_since),
            last=_seconds(endpoint.fell_at),
            how=endpoint.fall,
        ),
        expires=endpoint.expires_at.timestamp() if endpoint.expires_at else None,
        no_room=memory.no_room(look.at),
        passing=endpoint.serverless,
    )


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _as_seen(row: Replica) -> SeenReplica:
    return SeenReplica(
        id=row.id, revision=row.revision, phase=Phase(row.phase), since=row.started_at.timestamp()
    )


def _idle(endpoint: Endpoint, rows: Sequence[Replica], load: Load, at: float) -> float:
    """Seconds since anything happened that says it is in use."""
    if load.pending:
        return 0.0
    ready = [it.ready_at for it in rows]
    moments = [endpoint.created_at, endpoint.woke_at, endpoint.proven_at, endpoint.last_request_at, *ready]
    past = [it.timestamp() for it in moments if it is not None and it.timestamp() <= at]
    return at - max(past, default=at)


def _money(look: _Look, endpoint: Endpoint, spec: EndpointSpec) -> Money:
    if spec.budget is None:
        return Money()
    spent = usage.spent(look.session, f"{endpoint.namespace}/{endpoint.name}", spec.budget, look.moment)
    return Money(spent=spent, budget=spec.budget.amount, period=spec.budget.period)


def _write(look: _Look, endpoint: Endpoint, decision: Decision) -> None:
    if decision.removed:
        look.session.delete(endpoint)
        look.plan.changed.add(endpoint.id)
        return
    before = (endpoint.state, endpoint.intent, endpoint.message, endpoint.serving)
    if decision.intent is not None:
        endpoint.intent = decision.intent.value
        _note(look, endpoint, decision.intent, decision.message)
    if decision.proven is not None:
        endpoint.serving, endpoint.proven_at = decision.proven, look.moment
    endpoint.state = decision.state.value
    if decision.message or endpoint.state not in (State.PAUSED.value, State.SCALED_TO_ZERO.value):
        endpoint.message = decision.message
    if before != (endpoint.state, endpoint.intent, endpoint.message, endpoint.serving):
        look.plan.changed.add(endpoint.id)


def _note(look: _Look, endpoint: Endpoint, intent: Intent, why: str) -> None:
    """Nobody asked for it, so that the server is who did it. That it rests is no deed."""
    if intent in (Intent.PAUSE, Intent.REMOVE):
        target = f"{endpoint.namespace}/{endpoint.name}"
        audit.note(
            look.session, who=audit.SERVER, what=f"endpoint.{intent}", target=target, details={"why": why}
        )


def _stop(
    look: _Look, endpoint: Endpoint, spec: EndpointSpec, rows: Sequence[Replica], decision: Decision
) -> None:
    """Those that are to drain are told so at each look: the wish may have been lost with a server."""
    for row in rows:
        if row.id in decision.stop:
            row.phase = Phase.DRAINING.value
            look.plan.changed.add(endpoint.id)
        if row.phase == Phase.DRAINING.value:
            look.plan.stop[row.id] = min(DRAIN, spec.deadline)
