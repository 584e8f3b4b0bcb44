"""Lists: repositories by what they are, what somebody likes, the tags in use, what a namespace stores."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from lanza.auth import accounts
from lanza.auth.principal import Principal, Scope
from lanza.errors import BadRequest, RepoNotFound, RevisionNotFound, Unauthorized
from lanza.hub import info, search
from lanza.hub.access import name_of, visible
from lanza.hub.api.dependencies import CallerDep, HubDep
from lanza.hub.api.paths import cursor_of, next_page
from lanza.hub.catalog import recorded
from lanza.hub.facts import FILE_TAGS, Facts
from lanza.hub.hub import Hub
from lanza.hub.names import Kind
from lanza.hub.objects import Entry
from lanza.hub.records import Like, Repo, RepoTag
from lanza.hub.refs import MAIN

router = APIRouter()

PAGE: Final = 100
LARGEST_PAGE: Final = 1000
PAGE_WITH_FILES: Final = 100
"""Repositories in a page for which each one's git objects are read."""


class Asked(BaseModel):
    """The query of a list. `filter` are tags that all hold, alone or with commas between them."""

    search: list[str] = []
    author: str | None = None
    filter: list[str] = []
    pipeline_tag: str | None = None
    gated: bool | None = None
    num_parameters: str | None = None
    datasets: list[str] = []
    models: list[str] = []
    sort: str = "lastModified"
    direction: int = -1
    limit: int = PAGE
    cursor: str | None = None
    full: bool = False
    cardData: bool = False
    config: bool = False
    expand: list[str] = []
    apps: list[str] = []
    inference: str | None = None
    inference_provider: list[str] = []


class Place(msgspec.Struct, array_like=True):
    """Where the next page begins: a value in the order (a date as text), and a repository's number."""

    value: search.Number | str
    id: search.Number


@router.get("/api/{plural:kind}")
def repositories(
    request: Request, hub: HubDep, caller: CallerDep, plural: Kind, asked: Annotated[Asked, Query()]
) -> Response:
    """The repositories that the caller may see, a page at a time."""
    names = _fields(plural, asked)
    query = _query(plural, asked, names)
    with hub.database.reading() as session:
        page = search.find(session, caller, query)
    views = [_view(hub, repo, page.tags[repo.id], names, query.heavy) for repo in page.repos]
    headers = next_page(request, _place(page.next)) if page.next else None
    content = msgspec.json.encode([info.describe(view, names) for view in views])
    return Response(content, headers=headers, media_type="application/json")


@router.get("/api/users/{user}/likes")
def likes(
    request: Request, response: Response, hub: HubDep, caller: CallerDep, user: str, cursor: str | None = None
) -> list[dict[str, Any]]:
    """What a user likes, the newest repositories first; of that, what the caller may see."""
    before = cursor_of(cursor, search.Number)
    with hub.database.reading() as session:
        account = accounts.get(session, user)
        those = (
            select(Like.created_at, Repo)
            .join(Repo, Repo.id == Like.repo_id)
            .where(Like.account_id == account.id, visible(caller))
            .order_by(Repo.id.desc())
            .limit(LARGEST_PAGE + 1)
        )
        if before is not None:
            those = those.where(Repo.id < before)
        rows = list(session.execute(those))
    if len(rows) > LARGEST_PAGE:
        response.headers.update(next_page(request, rows[LARGEST_PAGE - 1][1].id))
    return [
        {"createdAt": info.moment(since), "repo": {"name": name_of(repo).id, "type": repo.kind}}
        for since, repo in rows[:LARGEST_PAGE]
    ]


@router.get("/api/settings/repositories")
def own_repositories(hub: HubDep, caller: CallerDep) -> list[dict[str, Any]]:
    """What the caller stores, the largest first."""
    if caller.anonymous:
        raise Unauthorized("this needs a token: log in with `hf auth login`.")
    return _stored(hub, caller, caller.name)


@router.get("/api/organizations/{organization}/settings/repositories")
def repositories_of(hub: HubDep, caller: CallerDep, organization: str) -> list[dict[str, Any]]:
    """What an organization of the caller's stores, the largest first."""
    caller.require(Scope.READ, organization)
    return _stored(hub, caller, organization)


@router.get("/api/models-tags-by-type")
def model_tags(hub: HubDep, caller: CallerDep) -> dict[str, list[dict[str, str]]]:
    """The tags of models, grouped by what they say."""
    return _tags_by_type(hub, caller, Kind.MODEL)


@router.get("/api/datasets-tags-by-type")
def dataset_tags(hub: HubDep, caller: CallerDep) -> dict[str, list[dict[str, str]]]:
    """The tags of datasets, grouped by what they say."""
    return _tags_by_type(hub, caller, Kind.DATASET)


def _fields(kind: Kind, asked: Asked) -> frozenset[str]:
    if asked.expand:
        if asked.full or asked.cardData or asked.config:
            raise BadRequest("`expand` names all that is wanted: leave out `full`, `cardData` and `config`.")
        return info.expanded(kind, asked.expand)
    names = set(info.usual(kind, info.Stands.IN_LISTS_TOO))
    if asked.full:
        names |= {"siblings", "cardData"} if kind is not Kind.MODEL else {"siblings"}
    if asked.cardData:
        names.add("cardData")
    if asked.config and kind is Kind.MODEL:
        names.add("config")
    return frozenset(names)


def _query(kind: Kind, asked: Asked, names: frozenset[str]) -> search.Query:
    for name in ("apps", "inference", "inference_provider"):
        if getattr(asked, name):
            raise BadRequest(f"this server cannot tell models by `{name}`: leave it out.")
    tags = [tag.strip() for each in asked.filter for tag in each.split(",") if tag.strip()]
    tags += [f"dataset:{each.removeprefix('dataset:')}" for each in asked.datasets]
    tags += [f"model:{each.removeprefix('model:')}" for each in asked.models]
    if asked.pipeline_tag:
        tags.append(asked.pipeline_tag)
    most = PAGE_WITH_FILES if info.needs_files(names) else LARGEST_PAGE
    return search.Query(
        kind=kind,
        words=[word for each in asked.search for word in each.split()],
        author=asked.author,
        tags=list(dict.fromkeys(tags)),
        gated=asked.gated,
        parameters=search.parse_parameters(asked.num_parameters) if asked.num_parameters else (None, None),
        order=asked.sort,
        ascending=asked.direction == 1,
        limit=max(1, min(asked.limit, most)),
        after=_after(asked),
        heavy=info.is_heavy(kind, names),
    )


def _after(asked: Asked) -> search.Cursor | None:
    place = cursor_of(asked.cursor, Place)
    if place is None:
        return None
    value = search.parse_value(asked.sort, place.value)
    return search.Cursor(value=value, id=place.id)


def _place(cursor: search.Cursor) -> Place:
    value = cursor.value
    return Place(value if isinstance(value, int) else value.isoformat(), cursor.id)


def _view(hub: Hub, repo: Repo, tags: list[str], names: frozenset[str], heavy: bool) -> info.View:
    facts = (
        recorded(repo, tags)
        if heavy
        else Facts(library=repo.library, pipeline_tag=repo.pipeline_tag, tags=tuple(tags))
    )
    siblings = _files(hub, repo) if info.needs_files(names) else []
    return info.View(repo=repo, facts=facts, sha=repo.head, siblings=siblings)


def _files(hub: Hub, repo: Repo) -> list[Entry]:
    try:
        git = hub.git.open(repo.id)
        entries = git.entries(git.resolve(repo.head or MAIN), recursive=True)
    except (RepoNotFound, RevisionNotFound):  # removed, or squashed, since the page was made
        return []
    return [it for it in entries if it.kind == "file"]


def _stored(hub: Hub, caller: Principal, namespace: str) -> list[dict[str, Any]]:
    with hub.database.reading() as session:
        account = accounts.get(session, namespace)
        those = select(Repo).where(Repo.owner_id == account.id, visible(caller))
        found = list(session.scalars(those.order_by(Repo.stored_bytes.desc(), Repo.id)))
    total = sum(repo.stored_bytes for repo in found)
    return [
        {
            "id": name_of(repo).id,
            "type": repo.kind,
            "updatedAt": info.moment(repo.updated_at),
            "visibility": repo.visibility,
            "storage": repo.stored_bytes,
            "storagePercent": 100 * repo.stored_bytes / total if total else 0,
        }
        for repo in found
    ]


def _tags_by_type(hub: Hub, caller: Principal, kind: Kind) -> dict[str, list[dict[str, str]]]:
    mine = Repo.kind == kind.value, visible(caller)
    with hub.database.reading() as session:
        tags = session.scalars(
            select(RepoTag.tag).distinct().join(Repo, Repo.id == RepoTag.repo_id).where(*mine)
        )
        known = {"pipeline_tag": Repo.pipeline_tag, "library": Repo.library}
        types = {
            value: name
            for name, column in known.items()
            for value in session.scalars(select(column).distinct().where(*mine, column.is_not(None)))
        } | dict.fromkeys(FILE_TAGS, "library")
        found = sorted(tags)
    grouped: dict[str, list[dict[str, str]]] = {}
    for tag in found:
        named = types.get(tag) or _type_of(tag)
        label = tag.removeprefix(f"{named}:")
        grouped.setdefault(named, []).append({"id": tag, "label": label, "type": named})
    return grouped


def _type_of(tag: str) -> str:
    """The type that a tag's prefix or form gives away."""
    prefix, colon, _ = tag.partition(":")
    if colon and re.fullmatch(r"[a-z_]+", prefix):
        return prefix
    return "language" if re.fullmatch(r"[a-z]{2,3}", tag) else "other"
