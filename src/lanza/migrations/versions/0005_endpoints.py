"""Endpoints: what is wanted, what runs, what it costs, who did what (`lanza/endpoints/records.py`)."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"

KEY: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT: Final = sa.DateTime(timezone=True)

KEPT: Final = {
    "sqlite": [
        f"CREATE TRIGGER audit_{what} BEFORE {what} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
        for what in ("update", "delete")
    ],
    "postgresql": [
        "CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is only ever added to'; END $$",
        "CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_kept()",
    ],
}
"""The audit log is changed by nobody who is not a database administrator and means to."""


def upgrade() -> None:
    _endpoints()
    _replicas()
    _what_is_counted()


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("namespace", sa.String, nullable=False, index=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("owner_id", KEY, sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("intent", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("serving", sa.Integer),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failed_at", MOMENT),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("proven_at", MOMENT),
        sa.Column("woke_at", MOMENT),
        sa.Column("last_request_at", MOMENT),
        sa.Column("warned", sa.String, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("serverless", sa.Boolean, nullable=False),
        sa.Index("endpoints_by_intent", "intent"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "endpoint_revisions",
        _of_endpoint(primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("instance", sa.JSON, nullable=False),
        sa.Column("secrets", sa.LargeBinary),
        sa.Column("repo_id", sa.Integer),
        sa.Column("commit", sa.String, nullable=False),
        sa.Column("base", sa.JSON),
        sa.Column("warning", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
    )


def _replicas() -> None:
    op.create_table(
        "endpoint_replicas",
        sa.Column("id", sa.String, primary_key=True),
        _of_endpoint(nullable=False, index=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("platform", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("address", sa.String),
        sa.Column("price_per_hour", sa.Double(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ready_at", MOMENT),
        sa.Column("accounted_at", MOMENT, nullable=False),
    )
    op.create_table(
        "endpoint_loads",
        sa.Column("worker", sa.String, primary_key=True),
        _of_endpoint(primary_key=True),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
    )


def _what_is_counted() -> None:
    op.create_table(
        "usage",
        sa.Column("endpoint", sa.String, primary_key=True),
        sa.Column("day", sa.String, primary_key=True),
        sa.Column("token", sa.String, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("requests", "errors")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("tokens_in", "tokens_out")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("replica_seconds", "cost")),
    )
    op.create_table(
        "endpoint_points",
        _of_endpoint(primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("requests", "errors", "replicas")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("seconds", "slowest", "cost")),
    )
    op.create_table(
        "audit",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("at", MOMENT, nullable=False, index=True),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False, index=True),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("address", sa.String, nullable=False),
        sqlite_autoincrement=True,
    )
    for statement in KEPT[op.get_bind().dialect.name]:
        op.execute(statement)


def _of_endpoint(
    *, primary_key: bool = False, nullable: bool | None = None, index: bool | None = None
) -> sa.Column[int]:
    """A reference to an endpoint, which goes when that goes."""
    target = sa.ForeignKey("endpoints.id", ondelete="CASCADE")
    optional = not primary_key if nullable is None else nullable
    return sa.Column("endpoint_id", KEY, target, primary_key=primary_key, nullable=optional, index=index)
