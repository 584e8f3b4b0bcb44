"""Branches and tags: listed, made, removed; a branch's history made one commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter

from lanza.auth.principal import Principal, Scope
from lanza.hub.access import find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, json_body
from lanza.hub.catalog import refresh
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName, check_ref_name
from lanza.hub.objects import Ref
from lanza.hub.refs import MAIN

router = APIRouter(prefix="/api/{plural:kind}/{repo:repo}")

LONGEST_MESSAGE: Final = 64 * 2**10


class NewBranch(msgspec.Struct, rename="camel"):
    """Where a branch starts: at a branch, tag or commit; at main, when nothing is said."""

    starting_point: str | None = None


class NewTag(msgspec.Struct):
    tag: str
    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)] | None = None


class Squash(msgspec.Struct):
    message: Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)] | None = None


@router.get("/refs")
def refs(hub: HubDep, caller: CallerDep, name: NameDep, include_prs: bool = False) -> dict[str, Any]:
    """All branches and tags. There are no pull requests here, and no conversions."""
    git = hub.git.open(_find(hub, caller, name, Scope.READ))
    listed: dict[str, Any] = {
        "branches": _told(git.branches()),
        "converts": [],
        "tags": _told(git.tags()),
    }
    return listed | ({"pullRequests": []} if include_prs else {})


@router.post("/branch/{branch:rev}")
def create_branch(
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    branch: str,
    wanted: Annotated[NewBranch, json_body(NewBranch)],
) -> dict[str, Any]:
    git = hub.git.open(_find(hub, caller, name, Scope.WRITE))
    git.create_branch(check_ref_name(branch), wanted.starting_point or MAIN)
    return {}


@router.delete("/branch/{branch:rev}")
def delete_branch(hub: HubDep, caller: CallerDep, name: NameDep, branch: str) -> dict[str, Any]:
    hub.git.open(_find(hub, caller, name, Scope.WRITE)).delete_branch(branch)
    return {}


@router.post("/tag/{rev:rev}")
def create_tag(
    hub: HubDep, caller: CallerDep, name: NameDep, rev: str, wanted: Annotated[NewTag, json_body(NewTag)]
) -> dict[str, Any]:
    """Tag a revision, with a message or without."""
    git = hub.git.open(_find(hub, caller, name, Scope.WRITE))
    git.create_tag(check_ref_name(wanted.tag), rev, wanted.message, author=caller.name)
    return {}


@router.delete("/tag/{rev:rev}")
def delete_tag(hub: HubDep, caller: CallerDep, name: NameDep, rev: str) -> dict[str, Any]:
    """Remove a tag; what it names stays."""
    hub.git.open(_find(hub, caller, name, Scope.WRITE)).delete_tag(rev)
    return {}


@router.post("/super-squash/{branch:rev}")
def squash(
    hub: HubDep, caller: CallerDep, name: NameDep, branch: str, wanted: Annotated[Squash, json_body(Squash)]
) -> dict[str, Any]:
    """Make all of a branch's history one commit. There is no way back."""
    repo_id = _find(hub, caller, name, Scope.WRITE)
    message = wanted.message or f"Super-squash branch '{branch}'"
    hub.git.open(repo_id).squash(branch, message, caller.name)
    if branch == MAIN:
        refresh(hub, repo_id)
    return {}


def _find(hub: Hub, caller: Principal, name: RepoName, scope: Scope) -> int:
    with hub.database.reading() as session:
        return find_repo(session, caller, name, scope=scope).id


def _told(found: Iterable[Ref]) -> list[dict[str, str]]:
    return [{"name": it.name, "ref": it.ref, "targetCommit": it.target} for it in found]
