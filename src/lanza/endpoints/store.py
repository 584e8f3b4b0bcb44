"""Endpoints in the database: made, changed, found. What is wanted is written here; what is seen, by the loop.

The functions take a session, and their caller's transaction is theirs. Names are unique within a namespace; a
change that replicas are made of is a new revision, any other changes the present one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lanza.auth.records import Account
from lanza.database import now
from lanza.endpoints.platform import Instance
from lanza.endpoints.records import Endpoint, Replica, Revision
from lanza.endpoints.repositories import Base
from lanza.endpoints.secrets import Vault
from lanza.endpoints.spec import EndpointSpec, kept
from lanza.endpoints.states import Intent, Phase, State
from lanza.errors import BadRequest, Conflict, NotFound


@dataclass(frozen=True, kw_only=True)
class Making:
    """What replicas of a revision are made of: resolved by who knows repositories and hardware.

    `spec` has names of secrets only; `secrets` are their values. `warning` is for the caller to read.
    """

    spec: EndpointSpec
    instance: Instance
    repo_id: int | None
    commit: str
    secrets: Mapping[str, str]
    base: Base | None = None
    warning: str = ""


def create(
    session: Session, vault: Vault, owner: Account, making: Making, *, by: str, serverless: bool = False
) -> Endpoint:
    """A new endpoint, which starts one replica to prove itself. Conflict when its name is taken."""
    moment = now()
    endpoint = Endpoint(
        key=f"{owner.name}/{making.spec.name}".lower(),
        namespace=owner.name,
        name=making.spec.name,
        owner_id=owner.id,
        created_by=by,
        created_at=moment,
        updated_at=moment,
        intent=Intent.RUN.value,
        revision=1,
        state=State.PENDING.value,
        expires_at=making.spec.expires,
        serverless=serverless,
    )
    try:
        with session.begin_nested():
            session.add(endpoint)
    except IntegrityError as error:
        raise Conflict(
            f"{owner.name} has an endpoint {making.spec.name!r} already: choose another, or update that one."
        ) from error
    _add_revision(session, vault, endpoint, making, by=by)
    return endpoint


def change(session: Session, vault: Vault, endpoint: Endpoint, making: Making, *, by: str) -> bool:
    """Make the endpoint what `making` says. Whether that is a new revision, yet to prove itself."""
    if endpoint.intent == Intent.REMOVE.value:
        raise Conflict(f"{endpoint.key} is being removed: create it again when it is gone.")
    if making.spec.name != endpoint.name:
        raise BadRequest(f"an endpoint keeps its name: this one is called {endpoint.name!r}.")
    present = current(session, endpoint)
    endpoint.updated_at = now()
    endpoint.expires_at = making.spec.expires
    if _makes(present, vault, endpoint) == _made_of(making):
        present.spec = kept(making.spec)
        return False
    newest = session.scalar(select(func.max(Revision.number)).where(Revision.endpoint_id == endpoint.id))
    endpoint.revision = (newest or 0) + 1
    forget_failures(endpoint)
    forget_falls(endpoint)
    if endpoint.intent == Intent.ZERO.value:
        endpoint.intent = Intent.RUN.value
    if endpoint.intent == Intent.RUN.value:
        endpoint.state = (State.UPDATING if endpoint.serving else State.PENDING).value
    _add_revision(session, vault, endpoint, making, by=by)
    return True


def _add_revision(session: Session, vault: Vault, endpoint: Endpoint, making: Making, *, by: str) -> None:
    session.add(
        Revision(
            endpoint_id=endpoint.id,
            number=endpoint.revision,
            spec=kept(making.spec),
            instance=asdict(making.instance),
            secrets=vault.seal(making.secrets, place=place_of(endpoint, endpoint.revision)),
            repo_id=making.repo_id,
            commit=making.commit,
            base=None if making.base is None else asdict(making.base),
            warning=making.warning,
            created_at=now(),
            created_by=by,
        )
    )
    session.flush()


def place_of(endpoint: Endpoint, number: int) -> str:
    """What a revision's secrets are bound to."""
    return f"endpoint {endpoint.id} revision {number}"


def secrets_of(vault: Vault, endpoint: Endpoint, revision: Revision) -> dict[str, str]:
    return vault.open(revision.secrets, place=place_of(endpoint, revision.number))


def made_again(session: Session, vault: Vault, endpoint: Endpoint, earlier: Revision) -> Making:
    """The endpoint as it is now, with replicas like those of an earlier revision."""
    old, spec = spec_of(earlier), spec_of(current(session, endpoint))
    compute = replace(old.compute, scaling=spec.compute.scaling)
    return Making(
        spec=replace(
            spec,
            model=old.model,
            platform=old.platform,
            provider=old.provider,
            compute=compute,
            deadline=old.deadline,
            start_timeout=old.start_timeout,
        ),
        instance=instance_of(earlier),
        repo_id=earlier.repo_id,
        commit=earlier.commit,
        base=base_of(earlier),
        secrets=secrets_of(vault, endpoint, earlier),
        warning=earlier.warning,
    )


def _makes(revision: Revision, vault: Vault, endpoint: Endpoint) -> tuple[Any, ...]:
    secrets = secrets_of(vault, endpoint, revision)
    files = (revision.commit, base_of(revision))
    return _parts(spec_of(revision), instance_of(revision), files, secrets)


def _made_of(making: Making) -> tuple[Any, ...]:
    files = (making.commit, making.base)
    return _parts(making.spec, making.instance, files, dict(making.secrets))


def _parts(
    spec: EndpointSpec, instance: Instance, files: tuple[str, Base | None], secrets: Mapping[str, str]
) -> tuple[Any, ...]:
    """What a replica that runs cannot change any more."""
    where = (instance.id, instance.cpus, instance.memory_bytes)
    return (spec.model, spec.platform, where, files, secrets, spec.deadline, spec.start_timeout)


def find(session: Session, namespace: str, name: str) -> Endpoint | None:
    return session.scalar(select(Endpoint).where(Endpoint.key == f"{namespace}/{name}".lower()))


def get(session: Session, namespace: str, name: str) -> Endpoint:
    """NotFound. Whether the caller may know of it is the caller's to ask first."""
    found = find(session, namespace, name)
    if found is None:
        raise NotFound(f"there is no endpoint {namespace}/{name}: `lanza ps` lists those that there are.")
    return found


def all_of(session: Session, namespace: str) -> Sequence[Endpoint]:
    """The endpoints of a namespace, by name, but for those that are being removed."""
    ordered = select(Endpoint).where(Endpoint.intent != Intent.REMOVE.value).order_by(Endpoint.key)
    return session.scalars(ordered.where(func.lower(Endpoint.namespace) == namespace.lower())).all()


def revision_of(session: Session, endpoint: Endpoint, number: int) -> Revision:
    """NotFound."""
    found = session.get(Revision, (endpoint.id, number))
    if found is None:
        raise NotFound(f"{endpoint.key} has no revision {number}: it is at {endpoint.revision}.")
    return found


def current(session: Session, endpoint: Endpoint) -> Revision:
    return revision_of(session, endpoint, endpoint.revision)


def revisions(session: Session, endpoint: Endpoint) -> Sequence[Revision]:
    """The newest first."""
    of = select(Revision).where(Revision.endpoint_id == endpoint.id)
    return session.scalars(of.order_by(Revision.number.desc())).all()


def replicas(session: Session, endpoint: Endpoint) -> Sequence[Replica]:
    """Those that are not forgotten, the oldest first."""
    of = select(Replica).where(Replica.endpoint_id == endpoint.id)
    return session.scalars(of.order_by(Replica.started_at, Replica.id)).all()


def count_replicas(session: Session) -> dict[tuple[str, str], int]:
    """Replicas by their endpoint, `namespace/name`, and phase."""
    rows = session.execute(
        select(Endpoint.namespace, Endpoint.name, Replica.phase, func.count())
        .join(Endpoint, Endpoint.id == Replica.endpoint_id)
        .group_by(Endpoint.namespace, Endpoint.name, Replica.phase)
    )
    return {(f"{namespace}/{name}", phase): number for namespace, name, phase, number in rows}


def spec_of(revision: Revision) -> EndpointSpec:
    return msgspec.convert(revision.spec, EndpointSpec)


def instance_of(revision: Revision) -> Instance:
    return Instance(**revision.instance)


def base_of(revision: Revision) -> Base | None:
    return None if revision.base is None else Base(**revision.base)


def pause(session: Session, endpoint: Endpoint, message: str = "") -> None:
    """From this transaction's end on, no new request reaches it."""
    _rest(session, endpoint, Intent.PAUSE, State.PAUSED, message)


def scale_to_zero(session: Session, endpoint: Endpoint) -> None:
    """Stop its replicas; the next request starts one. BadRequest while it is paused."""
    if endpoint.intent == Intent.PAUSE.value:
        raise BadRequest(f"{endpoint.key} is paused, and so has no replicas: resume it first.")
    _rest(session, endpoint, Intent.ZERO, State.SCALED_TO_ZERO, "")


def _rest(session: Session, endpoint: Endpoint, intent: Intent, state: State, message: str) -> None:
    if endpoint.intent == Intent.REMOVE.value:
        raise Conflict(f"{endpoint.key} is being removed.")
    endpoint.intent, endpoint.state, endpoint.message = intent.value, state.value, message
    endpoint.updated_at = now()
    _drain(session, endpoint)


def resume(session: Session, endpoint: Endpoint) -> None:
    """Run again; a failed one is tried anew. BadRequest, in words that clients look for, when it runs."""
    if endpoint.intent == Intent.REMOVE.value:
        raise Conflict(f"{endpoint.key} is being removed.")
    if endpoint.intent == Intent.RUN.value and endpoint.state not in (
        State.FAILED.value,
        State.UPDATE_FAILED.value,
    ):
        raise BadRequest(f"{endpoint.key} is already running, or about to.")
    endpoint.intent, endpoint.state, endpoint.message = Intent.RUN.value, State.PENDING.value, ""
    forget_failures(endpoint)
    forget_falls(endpoint)
    endpoint.woke_at = endpoint.updated_at = now()


def remove(session: Session, endpoint: Endpoint) -> None:
    """Take it away: at once for callers, from the database when its replicas have ended.

    Its name is free from now on: it gets a key that no name can be.
    """
    endpoint.key = f"{endpoint.key}#{endpoint.id}"
    endpoint.intent, endpoint.state, endpoint.message = (
        Intent.REMOVE.value,
        State.PAUSED.value,
        "being removed",
    )
    endpoint.updated_at = now()
    _drain(session, endpoint)


def _drain(session: Session, endpoint: Endpoint) -> None:
    ended = (Phase.STARTING.value, Phase.READY.value)
    session.execute(
        update(Replica)
        .where(Replica.endpoint_id == endpoint.id, Replica.phase.in_(ended))
        .values(phase=Phase.DRAINING.value)
    )


def check_leaving(session: Session, account: Account) -> None:
    """Conflict while an account has endpoints: what they run and cost must not outlive who answers for it."""
    mine = select(Endpoint.name, Endpoint.intent).where(Endpoint.owner_id == account.id)
    left = session.execute(mine.order_by(Endpoint.name)).all()
    if names := [name for name, intent in left if intent != Intent.REMOVE.value]:
        raise Conflict(
            f"{account.name} has endpoints ({', '.join(names)}): remove them first, with `lanza rm`."
        )
    if left:
        raise Conflict(f"the last endpoints of {account.name} are ending: try again in a moment.")


def forget_failures(endpoint: Endpoint) -> None:
    """Its starts work, or are to be tried anew."""
    endpoint.failures, endpoint.failed_at, endpoint.failure, endpoint.killed = 0, None, "", 0


def forget_falls(endpoint: Endpoint) -> None:
    """Its replicas are well."""
    endpoint.falls, endpoint.fell_since, endpoint.fell_at, endpoint.fall = 0, None, None, ""


def note_asked(session: Session, asked: Collection[str], broke: Collection[str], moment: datetime) -> None:
    """Replicas that requests were given to, and those that broke off an answer. Some may be gone."""
    for names, what in ((asked, {"asked": True}), (broke, {"asked": True, "broke_at": moment})):
        if names:
            session.execute(update(Replica).where(Replica.id.in_(sorted(names))).values(**what))


def wake(session: Session, endpoint_id: int, moment: datetime) -> bool:
    """Start what is at zero. Of many that ask at once one gets True; none wakes what was paused."""
    done = session.execute(
        update(Endpoint)
        .where(Endpoint.id == endpoint_id, Endpoint.intent == Intent.ZERO.value)
        .values(
            intent=Intent.RUN.value,
            state=State.INITIALIZING.value,
            message="",
            woke_at=moment,
            last_request_at=moment,
        )
    )
    return bool(done.rowcount)  # type: ignore[attr-defined]
