"""Repositories as wholes: made, removed, moved, copied, shown or hidden, liked.

A repository's folder of git objects is named by its number in the database, and written before the record
that makes it known is committed: a server that dies in between leaves a folder that nobody knows, and that
the next repository of that number replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lanza.auth import accounts
from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.database import now
from lanza.errors import BadRequest, Conflict, NotFound, QuotaExceeded, RepoNotFound, Unauthorized
from lanza.hub.access import check_content, find_repo, name_of
from lanza.hub.catalog import refresh
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName, check_repo_name
from lanza.hub.postings import note, stretch_term, terms_of
from lanza.hub.records import Like, Redirect, Repo, RepoBlob, RepoTag

VISIBILITIES: Final = ("public", "private")
GATES: Final = ("", "auto", "manual")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """New settings of a repository. None leaves what is there; `gated` is one of `GATES`."""

    visibility: str | None = None
    gated: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a namespace stores, and at most may; None when there is no limit."""

    namespace: str
    repositories: int
    stored_bytes: int
    limit_bytes: int | None


def create(
    hub: Hub,
    caller: Principal,
    name: RepoName,
    *,
    visibility: str = "public",
    settings: dict[str, Any] | None = None,
) -> RepoName:
    """Make a repository with a first commit, and give its name as it is written here.

    Conflict when there is one, Unauthorized or Forbidden when the namespace is not the caller's.
    """
    with hub.database.writing() as session:
        repo = _add(session, caller, name, visibility=visibility, settings=settings or {})
        hub.git.create(repo.id, author=caller.name)
        note(session, repo, frozenset(), terms_of(repo))
    refresh(hub, repo.id)
    return name_of(repo)


def remove(hub: Hub, caller: Principal, name: RepoName) -> None:
    """Remove a repository for good, with its history. Its blobs stay until they are collected."""
    with hub.database.writing() as session:
        repo = _find_exactly(session, caller, name)
        tags = session.scalars(select(RepoTag.tag).where(RepoTag.repo_id == repo.id))
        note(session, repo, terms_of(repo, tags), frozenset())
        session.delete(repo)
    hub.git.remove(repo.id)  # nobody else will ever have this number


def leaving(hub: Hub, session: Session, account: Account) -> Callable[[], None]:
    """What is left to do once an account is removed: records of repositories go with it, and files do not."""
    numbers = list(session.scalars(select(Repo.id).where(Repo.owner_id == account.id)))

    def finish() -> None:
        for number in numbers:
            hub.git.remove(number)

    return finish


def move(hub: Hub, caller: Principal, name: RepoName, to: RepoName) -> RepoName:
    """Give a repository another name, here or in another namespace. The old one leads to it."""
    with hub.database.writing() as session:
        repo = _find_exactly(session, caller, name)
        before = name_of(repo)
        if before.key == to.key:
            check_repo_name(to.name)
            repo.name = to.name  # another case of the same letters
            return name_of(repo)
        terms = terms_of(repo)
        owner = _claim(session, caller, to)
        if owner.id != repo.owner_id:
            check_room(session, hub, owner, repo.stored_bytes)
        repo.namespace, repo.name, repo.key, repo.owner_id = owner.name, to.name, to.key, owner.id
        session.add(Redirect(kind=before.kind.value, key=before.key, repo_id=repo.id))
        _take(session, to)
        note(session, repo, terms, terms_of(repo))
        return name_of(repo)


def duplicate(
    hub: Hub, caller: Principal, name: RepoName, to: RepoName, *, visibility: str | None = None
) -> RepoName:
    """Copy a repository with all of its history. The copy is as visible as the original, unless said."""
    with hub.database.writing() as session:
        source = find_repo(session, caller, name)
        check_content(session, caller, source)
        visibility = visibility or source.visibility
        repo = _add(session, caller, to, visibility=visibility, settings=dict(source.settings))
        check_room(session, hub, session.get_one(Account, repo.owner_id), source.stored_bytes)
        _share_blobs(session, source.id, repo.id)
        hub.git.copy(source.id, repo.id)
        note(session, repo, frozenset(), terms_of(repo))
    refresh(hub, repo.id)
    return name_of(repo)


def change(session: Session, caller: Principal, name: RepoName, changes: Changes) -> Repo:
    """Change settings. BadRequest for values that they do not have."""
    repo = find_repo(session, caller, name, scope=Scope.WRITE)
    terms = terms_of(repo)
    if changes.visibility is not None:
        repo.visibility = check_visibility(changes.visibility)
    if changes.gated is not None:
        if changes.gated not in GATES:
            raise BadRequest(f"`gated` is auto, manual or false, and not {changes.gated!r}.")
        repo.gated = changes.gated
    note(session, repo, terms, terms_of(repo))
    return repo


def like(session: Session, caller: Principal, name: RepoName, *, likes: bool) -> None:
    """Note that the caller likes a repository, or does no longer. Doing so twice changes nothing."""
    if caller.account_id is None:
        raise Unauthorized("liking needs a token: log in with `hf auth login`.")
    repo = find_repo(session, caller, name)
    session.refresh(repo, with_for_update=True)  # one at a time, so that the count is right
    before = stretch_term("likes", repo.likes)
    mine = session.get(Like, (repo.id, caller.account_id))
    if likes and mine is None:
        session.add(Like(repo_id=repo.id, account_id=caller.account_id, created_at=now()))
        repo.likes += 1
    elif not likes and mine is not None:
        session.delete(mine)
        repo.likes -= 1
    note(session, repo, {before}, {stretch_term("likes", repo.likes)})


def check_visibility(visibility: str) -> str:
    if visibility not in VISIBILITIES:
        raise BadRequest(f"a repository here is public or private, and not {visibility!r}.")
    return visibility


def check_room(session: Session, hub: Hub, owner: Account, more: int) -> None:
    """QuotaExceeded, when `more` bytes are over what the namespace may store."""
    most = hub.limits.account_bytes if owner.quota_bytes is None else owner.quota_bytes
    if most is None:
        return
    sizes = select(func.coalesce(func.sum(Repo.stored_bytes), 0)).where(Repo.owner_id == owner.id)
    stored = int(session.scalar(sizes) or 0)  # PostgreSQL adds up to decimals
    if stored + more > most:
        raise QuotaExceeded(
            f"{owner.name} stores {stored:,} of at most {most:,} bytes, and this needs {more:,} more: remove "
            f"repositories{_largest(session, owner)}, squash histories whose old files nobody needs, or ask "
            "an administrator for more."
        )


def usage(session: Session, hub: Hub) -> list[Usage]:
    """What each namespace stores, by name. What no commit names counts until it is collected."""
    sizes = func.coalesce(func.sum(Repo.stored_bytes), 0)
    joined = select(Account, func.count(Repo.id), sizes).outerjoin(Repo, Repo.owner_id == Account.id)
    return [
        Usage(
            namespace=account.name,
            repositories=repositories,
            stored_bytes=int(stored),
            limit_bytes=hub.limits.account_bytes if account.quota_bytes is None else account.quota_bytes,
        )
        for account, repositories, stored in session.execute(
            joined.group_by(Account.id).order_by(Account.key)
        )
    ]


def _largest(session: Session, owner: Account, most: int = 3) -> str:
    """The public repositories that take most room, in words. Whoever pushes need not see all others."""
    public = (Repo.owner_id == owner.id, Repo.visibility == "public", Repo.stored_bytes > 0)
    query = select(Repo).where(*public)
    found = session.scalars(query.order_by(Repo.stored_bytes.desc(), Repo.id).limit(most))
    named = ", ".join(f"{name_of(repo).path} with {repo.stored_bytes:,}" for repo in found)
    return f" (the largest public ones: {named})" if named else ""


def _add(
    session: Session, caller: Principal, name: RepoName, *, visibility: str, settings: dict[str, Any]
) -> Repo:
    check_visibility(visibility)
    owner = _claim(session, caller, name)
    made = now()
    repo = Repo(
        kind=name.kind.value,
        key=name.key,
        namespace=owner.name,
        name=name.name,
        owner_id=owner.id,
        visibility=visibility,
        settings=settings,
        created_at=made,
        updated_at=made,
    )
    session.add(repo)
    _take(session, name)
    return repo


def _claim(session: Session, caller: Principal, name: RepoName) -> Account:
    """The account that owns the namespace, once the caller may use this name and nobody else has it.

    A redirect from that name ends: whoever follows it means the repository that is there now.
    """
    if not name.namespace and not caller.anonymous:
        raise BadRequest(f"{name.name!r} has no namespace: write namespace/name.")
    caller.require(Scope.WRITE, name.namespace, name.name)
    check_repo_name(name.name)
    owner = accounts.find(session, name.namespace)
    if owner is None:
        raise NotFound(f"there is no user or organization {name.namespace!r}: make it first.")
    if session.scalar(select(Repo.id).where(Repo.kind == name.kind.value, Repo.key == name.key)):
        raise _taken(name)
    session.execute(delete(Redirect).where(Redirect.kind == name.kind.value, Redirect.key == name.key))
    return owner


def _take(session: Session, name: RepoName) -> None:
    """Write what is waiting, a new name among it. Somebody else may take that name at the same moment."""
    try:
        session.flush()
    except IntegrityError as error:
        raise _taken(name) from error


def _taken(name: RepoName) -> Conflict:
    return Conflict(f"the {name.kind} {name.id} is there already: choose another name, or use that one.")


def _find_exactly(session: Session, caller: Principal, name: RepoName) -> Repo:
    """The repository to remove or to move: never another one that a redirect leads to."""
    repo = find_repo(session, caller, name, scope=Scope.WRITE)
    if repo.key != name.key:
        raise RepoNotFound(f"the {name.kind} {name.id} is now {name_of(repo).id}: use that name.")
    return repo


def _share_blobs(session: Session, source_id: int, repo_id: int) -> None:
    held = select(literal(repo_id), RepoBlob.sha256, RepoBlob.created_at).where(RepoBlob.repo_id == source_id)
    session.execute(insert(RepoBlob).from_select(["repo_id", "sha256", "created_at"], held))
