"""What a revision holds, and how it came to be: folders, single paths, commits.

A page names the commit that it was made from in its link to the next one, so that a list is of one state even
when the branch moves on meanwhile. Xet hashes are never told: with them, clients would fetch files by Xet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from lanza.auth.principal import Principal
from lanza.errors import BadRequest, EntryNotFound, PayloadTooLarge
from lanza.hub.access import find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, read_body
from lanza.hub.api.paths import cursor_of, next_page
from lanza.hub.contents import entry_at
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.objects import Commit, Entry

router = APIRouter(prefix="/api/{plural:kind}/{repo:repo}")

PAGE: Final = 10_000
EXPANDED_PAGE: Final = 500
"""Entries in one page; fewer where the last change of each is asked for."""

COMMITS_PAGE: Final = 1000
MOST_PATHS: Final = 10_000
"""Paths that may be asked about at once."""


class TreeCursor(msgspec.Struct, array_like=True):
    """Where the next page of a tree or of a history begins: a commit, and how much was given of it."""

    commit: str
    given: Annotated[int, msgspec.Meta(ge=0, le=2**40)]


@router.get("/tree/{rev:rev}")
@router.get("/tree/{rev:rev}/{path:file}")
def tree(
    request: Request,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    rev: str,
    path: str = "",
    recursive: bool = False,
    expand: bool = False,
    limit: Annotated[int | None, Query(ge=1)] = None,
    cursor: str | None = None,
) -> Response:
    """The files and folders in a folder; with `recursive`, in those below it too."""
    git = open_repo(hub, caller, name)
    start = cursor_of(cursor, TreeCursor)
    commit = git.resolve(start.commit if start else rev)
    given = start.given if start else 0
    most = EXPANDED_PAGE if expand else PAGE
    most = min(limit or most, most)
    folder = path.strip("/")
    if folder and entry_at(git, commit, folder) is None:
        raise EntryNotFound(f"{name} has no folder {folder!r} at {rev}.", commit=commit.oid)
    entries = git.entries(commit, folder, recursive=recursive)
    page = list(islice(entries, given, given + most + 1))
    headers = {"X-Repo-Commit": commit.oid}
    if len(page) > most:
        headers |= next_page(request, TreeCursor(commit.oid, given + most))
    return json_answer(described(git, commit, page[:most], expand=expand), headers)


class PathsWanted(msgspec.Struct):
    """Which paths are asked about; `expand` asks for the last change of each, too."""

    paths: list[str] = []
    expand: bool = False


async def _paths_wanted(request: Request) -> PathsWanted:
    """A form, as huggingface_hub sends it, or JSON, as others do."""
    body = await read_body(request, 16 * 2**20)
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            wanted = msgspec.json.decode(body, type=PathsWanted)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequest(f'the body must be {{"paths": [...], "expand": false}}: {error}.') from error
    else:
        try:
            form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_PATHS + 10)
        except UnicodeDecodeError:
            raise BadRequest("the form is not UTF-8.") from None
        except ValueError:
            raise PayloadTooLarge(f"ask for at most {MOST_PATHS:,} paths at a time.") from None
        expand = form.get("expand", ["false"])[-1].lower() in ("true", "1")
        wanted = PathsWanted(form.get("paths", []), expand)
    if len(wanted.paths) > MOST_PATHS:
        raise PayloadTooLarge(f"ask for at most {MOST_PATHS:,} paths at a time.")
    return wanted


@router.post("/paths-info/{rev:rev}")
def paths_info(
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    rev: str,
    wanted: Annotated[PathsWanted, Depends(_paths_wanted)],
) -> Response:
    """What is at each of the paths. Those where nothing is are left out."""
    git = open_repo(hub, caller, name)
    commit = git.resolve(rev)
    paths = dict.fromkeys(path.strip("/") for path in wanted.paths)
    found = [entry for path in paths if (entry := entry_at(git, commit, path)) is not None]
    return json_answer(described(git, commit, found, expand=wanted.expand), {"X-Repo-Commit": commit.oid})


@router.get("/commits/{rev:rev}")
def commits(
    request: Request,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    rev: str,
    limit: Annotated[int, Query(ge=1)] = COMMITS_PAGE,
    cursor: str | None = None,
) -> Response:
    """The history of a revision, the newest first."""
    git = open_repo(hub, caller, name)
    start = cursor_of(cursor, TreeCursor)
    newest = git.resolve(start.commit if start else rev)
    given = start.given if start else 0
    most = min(limit, COMMITS_PAGE)
    page = git.log(newest, skip=given, limit=most + 1)
    asked = {*request.query_params.getlist("expand"), *request.query_params.getlist("expand[]")}
    more = next_page(request, TreeCursor(newest.oid, given + most)) if len(page) > most else {}
    return json_answer([_commit(commit, formatted="formatted" in asked) for commit in page[:most]], more)


def open_repo(hub: Hub, caller: Principal, name: RepoName) -> GitRepo:
    """The git repository of one that the caller may see. RepoNotFound."""
    with hub.database.reading() as session:
        repo_id = find_repo(session, caller, name).id
    return hub.git.open(repo_id)


def described(
    git: GitRepo, commit: Commit, entries: Sequence[Entry], *, expand: bool
) -> Iterable[dict[str, Any]]:
    """Entries as clients read them; with `expand`, each with the commit that changed it last."""
    if not expand:
        return [_entry(entry) for entry in entries]
    last = git.last_changes(commit, [entry.path for entry in entries])
    return [{**_entry(entry), **_last_commit(last.get(entry.path))} for entry in entries]


def _entry(entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = {"type": entry.kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.lfs:
        made["lfs"] = {
            "oid": entry.lfs.sha256,
            "size": entry.lfs.size,
            "pointerSize": entry.lfs.pointer_size,
        }
    return made


def _last_commit(commit: Commit | None) -> dict[str, Any]:
    if commit is None:
        return {}
    return {"lastCommit": {"id": commit.oid, "title": commit.title, "date": moment(commit.date)}}


def _commit(commit: Commit, *, formatted: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": commit.author}],
        "date": moment(commit.date),
    }
    if formatted:
        made["formatted"] = {"title": escape(commit.title), "message": escape(commit.message)}
    return made


def moment(date: datetime) -> str:
    """As clients parse dates: `2026-08-21T10:00:00.000Z`."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{date.microsecond // 1000:03}Z"


def json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """JSON at once: lists of files are too long to be looked through again by the framework."""
    return Response(msgspec.json.encode(content), headers=headers, media_type="application/json")
