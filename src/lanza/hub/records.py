"""Repositories, and which blobs they hold: what the database keeps of the Hub.

The truth about files is in git and in the blob store. `repos` repeats what lists and searches need of it,
made anew from the main branch after every change (`catalog.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from lanza.auth.records import Key
from lanza.database import Base


class Repo(Base):
    """One repository. `kind` is "model", "dataset" or "space"; `key` is `namespace/name` in lower case.

    `visibility` is "public" or "private"; `gated` is "", "auto" or "manual". `head` is main's commit.
    What follows `head` is read from the files of that commit.
    """

    __tablename__ = "repos"
    __table_args__ = (
        UniqueConstraint("kind", "key"),
        Index("repos_by_change", "kind", "updated_at", "id"),
        Index("repos_by_downloads", "kind", "downloads", "id"),
        Index("repos_by_likes", "kind", "likes", "id"),
        Index("repos_by_creation", "kind", "created_at", "id"),
        Index("repos_by_parameters", "kind", "parameters"),
        {"sqlite_autoincrement": True},  # no number is ever given twice: folders are named by it
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str]
    key: Mapped[str]
    namespace: Mapped[str]
    name: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    visibility: Mapped[str]
    gated: Mapped[str] = mapped_column(default="")
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    downloads: Mapped[int] = mapped_column(BigInteger, default=0)
    likes: Mapped[int] = mapped_column(default=0)
    head: Mapped[str | None]
    pipeline_tag: Mapped[str | None] = mapped_column(index=True)
    library: Mapped[str | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    card: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)


class RepoTag(Base):
    """A tag of a repository, as filters ask for it: `license:mit`, `es`, `text-classification`, ..."""

    __tablename__ = "repo_tags"
    __table_args__ = (Index("repo_tags_by_tag", "tag", "repo_id"),)

    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)


class Posting(Base):
    """The repositories of a kind that have a term, those of one block of numbers: see `postings.py`."""

    __tablename__ = "postings"
    __table_args__ = ({"sqlite_with_rowid": False},)  # so that the blocks of a term lie side by side

    kind: Mapped[str] = mapped_column(primary_key=True)
    term: Mapped[str] = mapped_column(primary_key=True)
    block: Mapped[int] = mapped_column(primary_key=True)
    bits: Mapped[bytes] = mapped_column(LargeBinary)


class Redirect(Base):
    """A name that a repository had before it was moved."""

    __tablename__ = "redirects"

    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"))


class Like(Base):
    __tablename__ = "likes"

    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime]


class AccessRequest(Base):
    """Somebody wants into a gated repository: "pending", "accepted" or "rejected"."""

    __tablename__ = "access_requests"

    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    status: Mapped[str]
    fields: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reason: Mapped[str | None]
    created_at: Mapped[datetime]


class Blob(Base):
    """A large file that the blob store holds whole and verified."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class RepoBlob(Base):
    """A repository may reach this blob: somebody who may write there has shown to have it."""

    __tablename__ = "repo_blobs"
    __table_args__ = (Index("repo_blobs_by_blob", "sha256"),)

    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), primary_key=True)
    created_at: Mapped[datetime]


class Multipart(Base):
    """A large file that comes in parts. Its parts lie in the blob store until it is complete."""

    __tablename__ = "multiparts"

    id: Mapped[str] = mapped_column(primary_key=True)
    repo_id: Mapped[int] = mapped_column(ForeignKey("repos.id", ondelete="CASCADE"))
    sha256: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    chunk_size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class Xorb(Base):
    """A bundle of chunks that an account has uploaded by Xet, and where its chunks are now.

    While `stored`, the bundle itself is in the blob store. Once every chunk of it is part of a blob it is
    dropped, and `chunks` says where each is: packed as `xet/store.py` describes.
    """

    __tablename__ = "xorbs"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    stored: Mapped[bool]
    chunks: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class HubState(Base):
    """Single values, by name: the id of the Xet store (`xet_store`), among others."""

    __tablename__ = "hub_state"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
