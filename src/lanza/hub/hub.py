"""What every part of the Hub works with: the database, the blobs, the git repositories, the limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from lanza.auth.signing import Signer
from lanza.database import Database
from lanza.hub.blobs import BlobStore
from lanza.hub.git import GitStore


@dataclass(frozen=True, kw_only=True)
class HubLimits:
    """`regular_bytes`: the largest file that is kept in git itself, and not as a large file.

    `commit_bytes` bounds the body of one commit, `commit_files` its operations, `account_bytes` what a
    namespace may store when its account says nothing else (None: no bound).
    """

    regular_bytes: int = 10 * 2**20
    commit_bytes: int = 2 * 2**30
    commit_files: int = 200_000
    account_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Hub:
    """`database` has the records, `git` small files and history, `blobs` large files by their SHA-256.

    `refused` are the kinds of findings that no push may bring (`policy.py`).
    """

    database: Database
    git: GitStore
    blobs: BlobStore
    signer: Signer
    limits: HubLimits = field(default_factory=HubLimits)
    refused: frozenset[str] = frozenset()
