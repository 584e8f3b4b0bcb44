"""How much a Hub holds, counted by the database alone: cheap enough to be asked often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lanza.auth.records import Account
from lanza.hub.hub import Hub
from lanza.hub.names import Kind
from lanza.hub.records import Blob, Multipart, Repo, RepoBlob


@dataclass(frozen=True, kw_only=True, slots=True)
class Holdings:
    """`stored_bytes` counts each large file once, `logical_bytes` once for each repository that has it."""

    repositories: Mapping[str, int]
    accounts: Mapping[str, int]
    blobs: int
    stored_bytes: int
    logical_bytes: int
    begun_uploads: int


def holdings(hub: Hub) -> Holdings:
    """What `hub` holds now."""
    with hub.database.reading() as session:
        blobs, stored = session.execute(select(func.count(), func.sum(Blob.size)).select_from(Blob)).one()
        logical = select(func.sum(Blob.size)).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
        return Holdings(
            repositories={kind.value: 0 for kind in Kind} | _by_kind(session, Repo.kind),
            accounts={"user": 0, "org": 0} | _by_kind(session, Account.kind),
            blobs=blobs,
            stored_bytes=int(stored or 0),
            logical_bytes=int(session.scalar(logical) or 0),
            begun_uploads=session.scalar(select(func.count()).select_from(Multipart)) or 0,
        )


def _by_kind(session: Session, column: Any) -> dict[str, int]:
    rows = session.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows}
