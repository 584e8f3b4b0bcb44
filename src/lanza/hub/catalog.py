"""What lists and searches know of a repository, read anew from its main branch after every change.

The record repeats what git holds and can be made again at any time. `refresh` looks at the branch outside
of the transaction that writes, and again inside of it: of two that run at once, the one that saw the newer
commit has the last word.

The branch moves before the record is written, and a server may end, or its database fail, in between. Nothing
is noted down for that case: a record says which commit it was read from, so `repair` finds those that are
behind by comparing, however they got there. It is called before a server answers, and every so often.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pygit2
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lanza.database import now
from lanza.errors import LanzaError
from lanza.hub.bare import size_of
from lanza.hub.evidence import gather
from lanza.hub.facts import Facts, facts_of
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.inspection import inspect
from lanza.hub.names import Kind
from lanza.hub.objects import Commit
from lanza.hub.postings import note, terms_of
from lanza.hub.records import Blob, Repo, RepoBlob, RepoTag
from lanza.hub.refs import MAIN

log = logging.getLogger("lanza.hub")


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a commit of the main branch says."""

    commit: str
    facts: Facts
    findings: list[dict[str, Any]]
    git_bytes: int


def refresh(hub: Hub, repo_id: int) -> None:
    """Bring the record of a repository to what its main branch holds. Never raises for what is in there."""
    while True:
        kind = _kind(hub, repo_id)
        if kind is None:
            return
        git = hub.git.open(repo_id)
        reading = _read(hub, git, repo_id, kind, git.resolve(MAIN))
        with hub.database.writing() as session:
            repo = session.get(Repo, repo_id, with_for_update=True)
            if repo is None:
                return
            if hub.git.open(repo_id).resolve(MAIN).oid == reading.commit:
                _write(session, repo, reading)
                return


def repair(hub: Hub) -> int:
    """Refresh the records that are behind their main branch. Gives how many were.

    One whose repository is damaged is named in the log, and stays as it is.
    """
    with hub.database.reading() as session:
        known = session.execute(select(Repo.id, Repo.head)).all()
    behind = [repo_id for repo_id, head in known if hub.git.main(repo_id) != head]
    return sum(_repair(hub, repo_id) for repo_id in behind)


def _repair(hub: Hub, repo_id: int) -> bool:
    try:
        refresh(hub, repo_id)
    except (LanzaError, pygit2.GitError, KeyError) as error:
        log.warning("the git repository number %d cannot be read: %s", repo_id, error)
        return False
    return True


def facts_at(hub: Hub, git: GitRepo, kind: Kind, commit: Commit) -> Facts:
    """What the files of any commit say."""
    return facts_of(kind, gather(git, hub.blobs, commit))


def recorded(repo: Repo, tags: Iterable[str]) -> Facts:
    """What the files of the main branch say, as the record has it."""
    parameters: Mapping[str, int] = repo.facts.get("safetensors", {}).get("parameters", {})
    return Facts(
        library=repo.library,
        pipeline_tag=repo.pipeline_tag,
        tags=tuple(tags),
        card=repo.card,
        parameters=parameters,
        details=repo.facts,
    )


def _kind(hub: Hub, repo_id: int) -> Kind | None:
    with hub.database.reading() as session:
        kind = session.scalar(select(Repo.kind).where(Repo.id == repo_id))
    return Kind(kind) if kind else None


def _read(hub: Hub, git: GitRepo, repo_id: int, kind: Kind, commit: Commit) -> _Reading:
    return _Reading(
        commit=commit.oid,
        facts=facts_at(hub, git, kind, commit),
        findings=inspect(hub, repo_id, commit),
        git_bytes=size_of(git.folder),
    )


def _write(session: Session, repo: Repo, reading: _Reading) -> None:
    facts = reading.facts
    tags = set(session.scalars(select(RepoTag.tag).where(RepoTag.repo_id == repo.id)))
    terms = terms_of(repo, tags)
    if repo.head != reading.commit:
        repo.updated_at = now()
    repo.head = reading.commit
    repo.pipeline_tag = facts.pipeline_tag
    repo.library = facts.library
    repo.parameters = sum(facts.parameters.values()) or None
    repo.card = dict(facts.card) if facts.card else None
    repo.facts = dict(facts.details)
    repo.findings = reading.findings
    repo.stored_bytes = reading.git_bytes + _large_bytes(session, repo.id)
    _write_tags(session, repo.id, tags, facts.tags)
    note(session, repo, terms, terms_of(repo, facts.tags))


def _write_tags(session: Session, repo_id: int, before: set[str], tags: tuple[str, ...]) -> None:
    if gone := before - set(tags):
        session.execute(delete(RepoTag).where(RepoTag.repo_id == repo_id, RepoTag.tag.in_(gone)))
    session.add_all(RepoTag(repo_id=repo_id, tag=tag) for tag in tags if tag not in before)


def _large_bytes(session: Session, repo_id: int) -> int:
    """The large files that the repository may reach, those of old commits included."""
    size = select(func.coalesce(func.sum(Blob.size), 0)).join(RepoBlob, RepoBlob.sha256 == Blob.sha256)
    return int(session.scalar(size.where(RepoBlob.repo_id == repo_id)) or 0)
