"""The Hub: accounts, tokens, repositories, blobs.

`lanza/auth/records.py` and `lanza/hub/records.py` say what the columns are. This file stays as it is once it
was released: what changes afterwards is a file of its own beside it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

# In SQLite only a column of type INTEGER counts up by itself.
KEY: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    _accounts()
    _tokens()
    _repositories()
    _rows_of_repositories()
    _large_files()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("full_name", sa.String, nullable=False),
        sa.Column("email", sa.String),
        sa.Column("password_hash", sa.String),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("quota_bytes", sa.BigInteger),
        sa.Column("created_at", MOMENT, nullable=False),
        # A number is never given twice: what was signed for a removed account must not fit a new one.
        sqlite_autoincrement=True,
    )
    op.create_table(
        "memberships",
        _of("org_id", "accounts", primary_key=True),
        _of("user_id", "accounts", primary_key=True),
        sa.Column("role", sa.String, nullable=False),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", KEY, primary_key=True),
        _of("account_id", "accounts", nullable=False, index=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False, unique=True),
        sa.Column("hint", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("grants", sa.JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        sa.UniqueConstraint("account_id", "name"),
    )
    op.create_table(
        "device_codes",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("user_code", sa.String, nullable=False, unique=True),
        _of("account_id", "accounts"),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("asked_at", MOMENT),
    )


def _repositories() -> None:
    op.create_table(
        "repos",
        sa.Column("id", KEY, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("namespace", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        _of("owner_id", "accounts", nullable=False, index=True),
        sa.Column("visibility", sa.String, nullable=False),
        sa.Column("gated", sa.String, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("downloads", sa.BigInteger, nullable=False),
        sa.Column("likes", sa.Integer, nullable=False),
        sa.Column("head", sa.String),
        sa.Column("pipeline_tag", sa.String, index=True),
        sa.Column("library", sa.String),
        sa.Column("parameters", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger, nullable=False),
        sa.Column("card", sa.JSON),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.UniqueConstraint("kind", "key"),
        sa.Index("repos_by_change", "kind", "updated_at"),
        sa.Index("repos_by_downloads", "kind", "downloads"),
        sa.Index("repos_by_likes", "kind", "likes"),
        sa.Index("repos_by_creation", "kind", "created_at"),
        # Nor is a repository's: its folder is named by it.
        sqlite_autoincrement=True,
    )


def _rows_of_repositories() -> None:
    op.create_table(
        "repo_tags",
        _of("repo_id", "repos", primary_key=True),
        sa.Column("tag", sa.String, primary_key=True),
        sa.Index("repo_tags_by_tag", "tag", "repo_id"),
    )
    op.create_table(
        "redirects",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        _of("repo_id", "repos", nullable=False),
    )
    op.create_table(
        "likes",
        _of("repo_id", "repos", primary_key=True),
        _of("account_id", "accounts", primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "access_requests",
        _of("repo_id", "repos", primary_key=True),
        _of("account_id", "accounts", primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("created_at", MOMENT, nullable=False),
    )


def _large_files() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "repo_blobs",
        _of("repo_id", "repos", primary_key=True),
        sa.Column("sha256", sa.String, sa.ForeignKey("blobs.sha256"), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Index("repo_blobs_by_blob", "sha256"),
    )
    op.create_table(
        "multiparts",
        sa.Column("id", sa.String, primary_key=True),
        _of("repo_id", "repos", nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("chunk_size", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "xorbs",
        _of("account_id", "accounts", primary_key=True),
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("chunks", sa.LargeBinary, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "hub_state",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )


def _of(
    column: str,
    table: str,
    *,
    primary_key: bool = False,
    nullable: bool | None = None,
    index: bool | None = None,
) -> sa.Column[int]:
    """A reference to a row of `table`, which goes when that row goes."""
    target = sa.ForeignKey(f"{table}.id", ondelete="CASCADE")
    optional = not primary_key if nullable is None else nullable
    return sa.Column(column, KEY, target, primary_key=primary_key, nullable=optional, index=index)
