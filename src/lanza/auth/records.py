"""Accounts, memberships, tokens: what the database keeps of those who call."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lanza.database import Base

Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what is called INTEGER


class Account(Base):
    """A user or an organization: whoever owns a namespace. `key` is the name in lower case, unique."""

    __tablename__ = "accounts"
    __table_args__ = ({"sqlite_autoincrement": True},)  # no number is ever given twice

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]  # "user" or "org"
    full_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str | None]
    password_hash: Mapped[str | None]
    admin: Mapped[bool] = mapped_column(default=False)
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    refused: Mapped[list[str]] = mapped_column(JSON, default=list)  # kinds of findings, `hub/policy.py`
    created_at: Mapped[datetime]


class Membership(Base):
    """A user's `role` in an organization: "read", "write" or "admin"."""

    __tablename__ = "memberships"

    org_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]


class Token(Base):
    """A user's token. Only its SHA-256 is kept; `hint` are its last four characters, to tell it from others.

    `role` is "read", "write", "fine-grained" or "admin"; `grants` are a fine-grained token's, as JSON.
    """

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    hash: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str]
    role: Mapped[str]
    grants: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class DeviceCode(Base):
    """A login that waits for somebody to allow it in a browser (OAuth's device flow, RFC 8628)."""

    __tablename__ = "device_codes"

    hash: Mapped[str] = mapped_column(primary_key=True)  # SHA-256 of the device code
    user_code: Mapped[str] = mapped_column(unique=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    status: Mapped[str]  # "pending", "allowed" or "denied"
    expires_at: Mapped[datetime]
    asked_at: Mapped[datetime | None]


class Deed(Base):
    """An entry of the audit log (`audit.py`). The database refuses to change or remove one."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str]  # account, or "lanza" for the server itself
    token: Mapped[str] = mapped_column(default="")
    what: Mapped[str]  # endpoint.create, endpoint.pause, ...
    target: Mapped[str] = mapped_column(index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    request_id: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
