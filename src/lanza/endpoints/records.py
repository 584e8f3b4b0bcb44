"""What the database keeps of endpoints: what is wanted, what was started, what was used, who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from lanza.auth.records import Key
from lanza.database import Base


class Endpoint(Base):
    """One endpoint. `key` is `namespace/name` in lower case.

    `intent`, `revision` and `expires_at` are wanted; `state`, `message` and `serving` (the last revision that
    has proven itself) are seen. `failures` counts the starts of `revision` that failed in a row, `killed`
    those of them that a SIGKILL ended; `falls` replicas of any revision that had served and ended by
    themselves, the first of them at `fell_since`. `serverless` ones were started by a call and go by
    themselves.
    """

    __tablename__ = "endpoints"
    __table_args__ = (
        Index("endpoints_by_intent", "intent"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    namespace: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    intent: Mapped[str]
    revision: Mapped[int]
    serving: Mapped[int | None]
    state: Mapped[str]
    message: Mapped[str] = mapped_column(default="")
    failures: Mapped[int] = mapped_column(default=0)
    failed_at: Mapped[datetime | None]
    failure: Mapped[str] = mapped_column(default="")
    killed: Mapped[int] = mapped_column(default=0)
    falls: Mapped[int] = mapped_column(default=0)
    fell_since: Mapped[datetime | None]
    fell_at: Mapped[datetime | None]
    fall: Mapped[str] = mapped_column(default="")
    proven_at: Mapped[datetime | None]
    woke_at: Mapped[datetime | None]
    last_request_at: Mapped[datetime | None]
    warned: Mapped[str] = mapped_column(default="")  # the budget's period that a warning was given for
    expires_at: Mapped[datetime | None]
    serverless: Mapped[bool] = mapped_column(default=False)


class Revision(Base):
    """What an endpoint was asked to be, once: its spec, the commit that `model.revision` meant, its secrets.

    `instance` is the hardware with the price of that day. `secrets` is encrypted (`secrets.py`). `base` is
    what an adapter is put on (`repositories.Base`), at the commit that it had when the revision was made, or
    when it came here for it.
    """

    __tablename__ = "endpoint_revisions"

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    instance: Mapped[dict[str, Any]] = mapped_column(JSON)
    secrets: Mapped[bytes | None] = mapped_column(LargeBinary)
    repo_id: Mapped[int | None]
    commit: Mapped[str]
    base: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    warning: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class Replica(Base):
    """A replica that is not yet forgotten. `accounted_at`: up to when its time was charged.

    Workers of the gateway say whether it was ever `asked`, and when it `broke` off an answer last.
    """

    __tablename__ = "endpoint_replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"), index=True)
    revision: Mapped[int]
    platform: Mapped[str]
    phase: Mapped[str]
    address: Mapped[str | None]
    price_per_hour: Mapped[float]
    started_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    accounted_at: Mapped[datetime]
    asked: Mapped[bool] = mapped_column(default=False)
    broke_at: Mapped[datetime | None]


class Usage(Base):
    """What an endpoint and a token used on one day (UTC, ISO). Time of replicas is nobody's: no `token`.

    Rows outlive their endpoint: `endpoint` is its name, `namespace/name`.
    """

    __tablename__ = "usage"

    endpoint: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)  # account/token
    requests: Mapped[int] = mapped_column(BigInteger, default=0)
    errors: Mapped[int] = mapped_column(BigInteger, default=0)
    tokens_in: Mapped[int] = mapped_column(BigInteger, default=0)
    tokens_out: Mapped[int] = mapped_column(BigInteger, default=0)
    replica_seconds: Mapped[float] = mapped_column(default=0.0)
    cost: Mapped[float] = mapped_column(default=0.0)


class WorkerLoad(Base):
    """What one worker of the gateway has under way for one endpoint. Old rows are those of dead workers."""

    __tablename__ = "endpoint_loads"

    worker: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True)
    in_flight: Mapped[int]
    held: Mapped[int]
    at: Mapped[datetime]


class Point(Base):
    """A minute of an endpoint, for charts. Old ones are removed (`points.KEEP_POINTS`)."""

    __tablename__ = "endpoint_points"

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"), primary_key=True)
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True)  # since 1970
    requests: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)  # of all requests together
    slowest: Mapped[float] = mapped_column(default=0.0)
    replicas: Mapped[int] = mapped_column(default=0)
    cost: Mapped[float] = mapped_column(default=0.0)


class Lease(Base):
    """Who does what only one may do, until when."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]
