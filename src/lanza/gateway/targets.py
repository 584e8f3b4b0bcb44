"""What the gateway knows of an endpoint, as one value, and how it is read from the database.

A target is what a request needs and no more: who may call, within which bounds, and where ready replicas
listen. Two reads that find the same give equal values, so that what hangs on one stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from lanza.endpoints import store
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.spec import RateLimit, Security
from lanza.endpoints.states import Intent, Phase, State

AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A ready replica. `address` is `unix:/path` or `http://127.0.0.1:port`."""

    id: str
    revision: int
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An endpoint as requests see it. `key` is `namespace/name` in lower case, `cors` allowed origins."""

    id: int
    key: str
    namespace: str
    name: str
    repository: str
    revision: int
    created_at: datetime
    state: State
    message: str = ""
    asleep: bool = False
    security: Security = Security.PROTECTED
    allowed: frozenset[str] = frozenset()
    cors: frozenset[str] = frozenset()
    retry: bool = True
    cached: bool = False
    rates: RateLimit = field(default_factory=RateLimit)
    concurrency: int | None = None
    deadline: float = 60.0
    start_timeout: float = 600.0
    places: tuple[Place, ...] = ()

    @property
    def label(self) -> str:
        """As people write it, and as usage is kept."""
        return f"{self.namespace}/{self.name}"


def read_targets(session: Session, keys: Collection[str]) -> dict[str, Target]:
    """Those of `keys` that exist and are not being removed."""
    found: dict[str, Target] = {}
    wanted = sorted(keys)
    for start in range(0, len(wanted), AT_ONCE):
        rows = session.execute(_present().where(Endpoint.key.in_(wanted[start : start + AT_ONCE]))).all()
        places = _places(session, [endpoint.id for endpoint, _ in rows])
        for endpoint, revision in rows:
            found[endpoint.key] = _target(endpoint, revision, tuple(places[endpoint.id]))
    return found


def keys_of_repository(session: Session, repository: str) -> Sequence[str]:
    """The endpoints that serve a repository, the newest first."""
    served = func.lower(Revision.spec["model"]["repository"].as_string())
    newest = _present().with_only_columns(Endpoint.key).order_by(Endpoint.created_at.desc())
    return session.scalars(newest.where(served == repository.lower())).all()


def all_keys(session: Session) -> Sequence[str]:
    return session.scalars(_present().with_only_columns(Endpoint.key).order_by(Endpoint.key)).all()


def key_of(session: Session, endpoint_id: int) -> str | None:
    return session.scalar(select(Endpoint.key).where(Endpoint.id == endpoint_id))


def _present() -> Select[Endpoint, Revision]:
    current = and_(Revision.endpoint_id == Endpoint.id, Revision.number == Endpoint.revision)
    return select(Endpoint, Revision).join(Revision, current).where(Endpoint.intent != Intent.REMOVE.value)


def _places(session: Session, endpoints: Iterable[int]) -> Mapping[int, list[Place]]:
    ready = select(Replica.endpoint_id, Replica.id, Replica.revision, Replica.address).where(
        Replica.endpoint_id.in_(list(endpoints)), Replica.phase == Phase.READY.value
    )
    found: defaultdict[int, list[Place]] = defaultdict(list)
    for endpoint_id, name, revision, address in session.execute(ready.order_by(Replica.id)):
        if address is not None:
            found[endpoint_id].append(Place(id=name, revision=revision, address=address))
    return found


def _target(endpoint: Endpoint, revision: Revision, places: tuple[Place, ...]) -> Target:
    spec = store.spec_of(revision)
    return Target(
        id=endpoint.id,
        key=endpoint.key,
        namespace=endpoint.namespace,
        name=endpoint.name,
        repository=spec.model.repository,
        revision=endpoint.revision,
        created_at=endpoint.created_at,
        state=State(endpoint.state),
        message=endpoint.message,
        asleep=endpoint.intent == Intent.ZERO.value,
        security=spec.type,
        allowed=frozenset(one.lower() for one in spec.allowed_tokens),
        cors=frozenset(one.rstrip("/").lower() for one in spec.cors),
        retry=spec.retry,
        cached=spec.cache_http_responses,
        rates=spec.rate_limit,
        concurrency=spec.concurrency,
        deadline=spec.deadline,
        start_timeout=spec.start_timeout,
        places=places if endpoint.intent == Intent.RUN.value else (),
    )
