"""Repositories as wholes: made, removed, moved, copied, told about, liked.

A name that a repository had before leads on to the new one: what is told of a repository by a redirect (307),
all else at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import BadRequest, Conflict, Forbidden
from lanza.hub import info, repos
from lanza.hub.access import check_content, find_repo, name_of
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, OriginDep, json_body
from lanza.hub.api.paths import cursor_of, next_page
from lanza.hub.catalog import facts_at, recorded
from lanza.hub.hub import Hub
from lanza.hub.inspection import security_status
from lanza.hub.names import Kind, RepoName, parse_repo
from lanza.hub.objects import Entry
from lanza.hub.records import Like, Repo
from lanza.hub.refs import MAIN
from lanza.hub.search import Number, tags_of

router = APIRouter()

REPO: Final = "/api/{plural:kind}/{repo:repo}"
SDKS: Final = ("gradio", "streamlit", "docker", "static")
PAGE: Final = 500

KindName = Literal["model", "dataset", "space"]


class Named(msgspec.Struct, rename="camel"):
    """A repository in a body. Without an organization it is the caller's own."""

    name: str
    organization: str | None = None
    type: KindName | None = None


class Wanted(Named, rename="camel"):
    """A repository to make. Older clients say `private`, newer ones `visibility`."""

    visibility: str | None = None
    private: bool | None = None
    sdk: str | None = None
    template: str | None = None
    secrets: list[Any] | None = None
    variables: list[Any] | None = None
    volumes: list[Any] | None = None


class Move(msgspec.Struct, rename="camel"):
    from_repo: str
    to_repo: str
    type: KindName | None = None


class Copy(msgspec.Struct, rename="camel"):
    """Where a copy goes: `namespace/name`."""

    repository: str
    visibility: str | None = None
    private: bool | None = None


class Settings(msgspec.Struct, rename="camel"):
    """`gated` is auto, manual or false."""

    gated: str | bool | None = None
    visibility: str | None = None
    private: bool | None = None


@router.post("/api/repos/create")
def create(
    hub: HubDep, caller: CallerDep, origin: OriginDep, wanted: Annotated[Wanted, json_body(Wanted)]
) -> dict[str, Any]:
    """Make a repository. 409 with its URL when there is one."""
    name = _named(caller, wanted)
    settings = _space_settings(name.kind, wanted)
    visibility = _visibility(wanted) or "public"
    with _naming_url(origin, name):
        made = repos.create(hub, caller, name, visibility=visibility, settings=settings)
    return _made(origin, made)


@router.delete("/api/repos/delete")
def delete(hub: HubDep, caller: CallerDep, wanted: Annotated[Named, json_body(Named)]) -> dict[str, Any]:
    """Remove a repository for good."""
    repos.remove(hub, caller, _named(caller, wanted))
    return {}


@router.post("/api/repos/move")
def move(
    hub: HubDep, caller: CallerDep, origin: OriginDep, wanted: Annotated[Move, json_body(Move)]
) -> dict[str, Any]:
    """Give a repository another name."""
    kind = Kind(wanted.type or "model")
    to = parse_repo(kind, wanted.to_repo)
    with _naming_url(origin, to):
        return _made(origin, repos.move(hub, caller, parse_repo(kind, wanted.from_repo), to))


@router.post(REPO + "/duplicate")
def duplicate(
    hub: HubDep,
    caller: CallerDep,
    origin: OriginDep,
    name: NameDep,
    wanted: Annotated[Copy, json_body(Copy)],
) -> dict[str, Any]:
    """Copy a repository, history and all."""
    to = parse_repo(name.kind, wanted.repository)
    with _naming_url(origin, to):
        made = repos.duplicate(hub, caller, name, to, visibility=_visibility(wanted))
    return _made(origin, made) | {"filesCopyPending": False}


@router.put(REPO + "/settings")
def settings(
    hub: HubDep, caller: CallerDep, name: NameDep, wanted: Annotated[Settings, json_body(Settings)]
) -> dict[str, Any]:
    """Show or hide a repository, put a gate before it or take it away."""
    if wanted.gated is True:
        raise BadRequest("`gated` is auto, manual or false, and not true.")
    gated = "" if wanted.gated is False else wanted.gated
    changes = repos.Changes(visibility=_visibility(wanted), gated=gated)
    with hub.database.writing() as session:
        repo = repos.change(session, caller, name, changes)
        return {
            "visibility": repo.visibility,
            "private": repo.visibility == "private",
            "gated": repo.gated or False,
        }


@router.get(REPO)
def about(
    request: Request,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    blobs: bool = False,
    securityStatus: bool = False,
    expand: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """All about a repository, at its main branch."""
    return _about(request, hub, caller, name, None, blobs, securityStatus, expand)


@router.get(REPO + "/revision/{rev:rev}")
def about_revision(
    request: Request,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    rev: str,
    blobs: bool = False,
    securityStatus: bool = False,
    expand: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """All about a repository, at a branch, a tag or a commit."""
    return _about(request, hub, caller, name, rev, blobs, securityStatus, expand)


@router.get(REPO + "/auth-check")
def may_read(hub: HubDep, caller: CallerDep, name: NameDep) -> dict[str, Any]:
    """Whether the caller may read the files."""
    with hub.database.reading() as session:
        check_content(session, caller, find_repo(session, caller, name))
    return {}


@router.get(REPO + "/auth-check/write")
def may_write(hub: HubDep, caller: CallerDep, name: NameDep) -> dict[str, Any]:
    """Whether the caller may push."""
    with hub.database.reading() as session:
        find_repo(session, caller, name, scope=Scope.WRITE)
    return {}


@router.get(REPO + "/discussions")
def discussions(hub: HubDep, caller: CallerDep, name: NameDep) -> None:
    """Never a list, not even an empty one: transformers would then ask a foreign service for a conversion."""
    with hub.database.reading() as session:
        find_repo(session, caller, name)
    raise Forbidden("there are no discussions and no pull requests on this server.")


@router.post(REPO + "/like")
def like(hub: HubDep, caller: CallerDep, name: NameDep) -> dict[str, Any]:
    with hub.database.writing() as session:
        repos.like(session, caller, name, likes=True)
    return {}


@router.delete(REPO + "/like")
def unlike(hub: HubDep, caller: CallerDep, name: NameDep) -> dict[str, Any]:
    with hub.database.writing() as session:
        repos.like(session, caller, name, likes=False)
    return {}


@router.get(REPO + "/likers")
def likers(
    request: Request,
    response: Response,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    cursor: str | None = None,
) -> list[dict[str, Any]]:
    """Who likes a repository."""
    after = cursor_of(cursor, Number) or 0
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name)
        those = select(Account).join(Like, Like.account_id == Account.id).where(Like.repo_id == repo.id)
        page = list(session.scalars(those.where(Account.id > after).order_by(Account.id).limit(PAGE + 1)))
    if len(page) > PAGE:
        response.headers.update(next_page(request, page[PAGE - 1].id))
    return [
        {"user": it.name, "fullname": it.full_name or it.name, "type": "user", "avatarUrl": ""}
        for it in page[:PAGE]
    ]


def _about(
    request: Request,
    hub: Hub,
    caller: Principal,
    name: RepoName,
    revision: str | None,
    blobs: bool,
    security: bool,
    expand: list[str] | None,
) -> Response:
    names = info.expanded(name.kind, expand) if expand else info.usual(name.kind)
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name)
        if repo.key != name.key:
            return _moved(request, name_of(repo), revision)
        view = _view(hub, session, repo, revision, names, blobs=blobs)
        answer = info.describe(view, names)
        if security:
            answer["securityRepoStatus"] = security_status(repo.findings)
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _view(
    hub: Hub, session: Session, repo: Repo, revision: str | None, names: frozenset[str], *, blobs: bool
) -> info.View:
    git = hub.git.open(repo.id)
    commit = git.resolve(revision or MAIN)
    if commit.oid == repo.head:
        facts = recorded(repo, tags_of(session, [repo.id])[repo.id])
    else:
        facts = facts_at(hub, git, Kind(repo.kind), commit)
    siblings: list[Entry] = []
    if info.needs_files(names):
        siblings = [it for it in git.entries(commit, recursive=True) if it.kind == "file"]
    return info.View(repo=repo, facts=facts, sha=commit.oid, siblings=siblings, with_sizes=blobs)


def _moved(request: Request, name: RepoName, revision: str | None) -> Response:
    path = f"/api/{name.kind.plural}/{name.id}"
    if revision is not None:
        path += f"/revision/{quote(revision, safe='')}"
    query = request.url.query
    return RedirectResponse(f"{path}?{query}" if query else path, status_code=307)


def _named(caller: Principal, wanted: Named) -> RepoName:
    """The repository that a body names; `ana/becas` may stand in `name`, too."""
    kind = Kind(wanted.type or "model")
    if wanted.organization is None and "/" in wanted.name:
        return parse_repo(kind, wanted.name)
    return RepoName(kind, wanted.organization or caller.name, wanted.name)


def _visibility(wanted: Wanted | Copy | Settings) -> str | None:
    if wanted.visibility is not None and wanted.private is not None:
        raise BadRequest("say either `visibility` or `private`, not both.")
    if wanted.private is not None:
        return "private" if wanted.private else "public"
    return wanted.visibility


def _space_settings(kind: Kind, wanted: Wanted) -> dict[str, Any]:
    if kind is not Kind.SPACE:
        return {}
    if wanted.sdk not in SDKS:
        raise BadRequest(f"a Space needs an `sdk`, one of {', '.join(SDKS)}: this is {wanted.sdk!r}.")
    for key in ("template", "secrets", "variables", "volumes"):
        if getattr(wanted, key):
            raise BadRequest(f"this server keeps Spaces and does not run them: leave out `{key}`.")
    return {"sdk": wanted.sdk}


@contextmanager
def _naming_url(origin: str, name: RepoName) -> Iterator[None]:
    """Clients read the URL of what is there already from the conflict."""
    try:
        yield
    except Conflict as conflict:
        raise Conflict(conflict.message, url=f"{origin}/{name.path}") from conflict


def _made(origin: str, name: RepoName) -> dict[str, Any]:
    return {"url": f"{origin}/{name.path}", "name": name.id, "type": name.kind.value}
