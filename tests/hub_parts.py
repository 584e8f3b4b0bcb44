"""A Hub of real parts in a folder: SQLite, git repositories, blobs. And people in it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

from hub_records import account, database, model, principal
from lanza.auth.principal import Principal
from lanza.auth.signing import Signer
from lanza.database import now
from lanza.hub.blobs import BlobStore
from lanza.hub.catalog import refresh
from lanza.hub.git import GitStore, Put, PutLarge
from lanza.hub.hub import Hub, HubLimits
from lanza.hub.objects import Commit
from lanza.hub.records import Blob, Repo, RepoBlob

CARD = b"""---
license: mit
language: [es, en]
pipeline_tag: question-answering
tags: [becas]
---
# Becas
"""
CONFIG = json.dumps({"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}).encode()


def hub(folder: Path, *, limits: HubLimits | None = None) -> Hub:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    return Hub(
        database=database(folder),
        git=GitStore(folder / "git"),
        blobs=BlobStore.open(str(folder / "blobs"), scratch),
        signer=Signer(b"k" * 32),
        limits=limits or HubLimits(),
    )


def person(hub: Hub, name: str, **memberships: str) -> Principal:
    """A new user with a token of role write, a member of the organizations named."""
    with hub.database.writing() as session:
        return principal(account(session, name), **memberships)


def organization(hub: Hub, name: str) -> None:
    with hub.database.writing() as session:
        account(session, name, kind="org")


def record(hub: Hub, repo_id: str) -> Repo:
    """The record of a model, by its name."""
    with hub.database.reading() as session:
        return session.query(Repo).filter_by(kind="model", key=model(repo_id).key).one()


def push(
    hub: Hub, number: int, files: Mapping[str, bytes], *, large: Mapping[str, bytes] | None = None
) -> Commit:
    """A commit to main, and what follows one. `large` are files that become blobs."""
    for content in (large or {}).values():
        keep(hub, number, content)
    changes: list[Put | PutLarge] = [Put(path, content) for path, content in files.items()]
    for path, content in (large or {}).items():
        changes.append(PutLarge(path, hashlib.sha256(content).hexdigest(), len(content)))
    commit = hub.git.open(number).commit("main", changes, author="ana", title="push")
    refresh(hub, number)
    return commit


def keep(hub: Hub, number: int, content: bytes) -> str:
    """Put a blob into the store, for one repository."""
    sha256 = hashlib.sha256(content).hexdigest()
    hub.blobs.write(sha256, len(content), iter([content]))
    with hub.database.writing() as session:
        session.merge(Blob(sha256=sha256, size=len(content), created_at=now()))
        session.flush()
        session.merge(RepoBlob(repo_id=number, sha256=sha256, created_at=now()))
    return sha256


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    """A file of zeros with these tensors."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)
