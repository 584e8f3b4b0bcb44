"""Pages for people: lists of repositories, a repository's card, its files and its history.

Plain HTML that the server makes, with one style sheet and no script. What people wrote is escaped, or made
safe first (`prose.py`). Pages show what the API would tell the same caller, and nothing more.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lanza.auth.principal import Principal
from lanza.errors import EntryNotFound, NotFound, Unauthorized
from lanza.hub import html
from lanza.hub.access import check_content, find_repo, name_of, visible
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, OriginDep
from lanza.hub.cards import CARD, read_card
from lanza.hub.contents import entry_at, text_at
from lanza.hub.git import Commit, GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName
from lanza.hub.prose import as_html
from lanza.hub.records import Repo
from lanza.hub.snippets import snippets
from lanza.models.figures import amount, size

router: Final = APIRouter(include_in_schema=False)

PER_PAGE: Final = 50
LAST_PAGE: Final = 200
MOST_FILES: Final = 1000
LONGEST_SHOWN: Final = 2**19
"""Bytes of a text file that a page shows."""

REPO: Final = "/{plural:prefix}{repo:repo}"


@router.api_route("/assets/lanza.css", methods=["GET", "HEAD"])
def style() -> Response:
    """The one style sheet."""
    text = (html.TEMPLATES / "lanza.css").read_text(encoding="utf-8")
    return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])
def icon() -> Response:
    """The icon that browsers ask for."""
    text = (html.TEMPLATES / "lanza.svg").read_text(encoding="utf-8")
    return Response(text, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


@router.api_route("/login", methods=["GET", "HEAD"])
async def login(caller: CallerDep) -> Response:
    """Makes a browser ask for a token (as the password), which it then sends by itself."""
    if caller.anonymous:
        raise Unauthorized("to see private repositories, give any name, and a token of yours as password.")
    return RedirectResponse("/", 303)


@router.api_route("/", methods=["GET", "HEAD"])
def models(hub: HubDep, caller: CallerDep, q: str = "", page: int = 1) -> Response:
    """All models."""
    return _listing(hub, caller, Kind.MODEL, q=q, page=page)


@router.api_route("/{plural:kind}", methods=["GET", "HEAD"])
def repositories(request: Request, hub: HubDep, caller: CallerDep, q: str = "", page: int = 1) -> Response:
    """All repositories of a kind."""
    return _listing(hub, caller, request.path_params["plural"], q=q, page=page)


@router.api_route("/{namespace}", methods=["GET", "HEAD"])
def namespace(
    hub: HubDep, caller: CallerDep, namespace: str, kind: Kind = Kind.MODEL, q: str = "", page: int = 1
) -> Response:
    """What a user or an organization has."""
    return _listing(hub, caller, kind, q=q, page=page, namespace=namespace)


@router.api_route(REPO, methods=["GET", "HEAD"])
def repository(hub: HubDep, caller: CallerDep, name: NameDep, origin: OriginDep) -> Response:
    """A repository: what it is, its card, its files."""
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name)
    name = name_of(repo)
    git, commit = _open(hub, repo, "main")
    card = read_card(text_at(git, commit, CARD))
    return html.page(
        "repository.html",
        **_of(repo, "card"),
        commit=commit,
        card=as_html(card.text, name, "main"),
        problem=card.problem,
        facts=_facts(repo),
        files=_files(git, commit, ""),
        most=MOST_FILES,
        findings=repo.findings,
        snippets=snippets(name, origin, task=repo.pipeline_tag, library=repo.library),
        revision="main",
    )


@router.api_route(REPO + "/tree/{rev:rev}", methods=["GET", "HEAD"])
@router.api_route(REPO + "/tree/{rev:rev}/{path:file}", methods=["GET", "HEAD"])
def folder(hub: HubDep, caller: CallerDep, name: NameDep, rev: str, path: str = "") -> Response:
    """The files of a folder."""
    repo = _found(hub, caller, name)
    git, commit = _open(hub, repo, rev)
    path = path.strip("/")
    return html.page(
        "tree.html",
        **_of(repo, "files"),
        revision=rev,
        path=path,
        commit=commit,
        files=_files(git, commit, path),
        most=MOST_FILES,
    )


@router.api_route(REPO + "/blob/{rev:rev}/{path:file}", methods=["GET", "HEAD"])
def file(hub: HubDep, caller: CallerDep, name: NameDep, rev: str, path: str) -> Response:
    """A file: its text when it is one, else what it is."""
    repo = _found(hub, caller, name, content=True)
    git, commit = _open(hub, repo, rev)
    entry = entry_at(git, commit, path)
    if entry is None or entry.kind != "file":
        raise EntryNotFound(f"{name} has no file {path!r} at {rev}.", commit=commit.oid)
    shown = not entry.lfs and entry.size <= LONGEST_SHOWN
    text = _text(git.read(entry.oid)) if shown else None
    return html.page(
        "file.html", **_of(repo, "files"), revision=rev, path=path, commit=commit, entry=entry, text=text
    )


@router.api_route(REPO + "/commits/{rev:rev}", methods=["GET", "HEAD"])
def history(hub: HubDep, caller: CallerDep, name: NameDep, rev: str, page: int = 1) -> Response:
    """The commits of a branch, the newest first."""
    repo = _found(hub, caller, name)
    git, commit = _open(hub, repo, rev)
    page = _bounded(page)
    commits = git.log(commit, skip=(page - 1) * PER_PAGE, limit=PER_PAGE + 1)
    return html.page(
        "history.html",
        **_of(repo, "history"),
        revision=rev,
        commits=commits[:PER_PAGE],
        page=page,
        more=len(commits) > PER_PAGE,
    )


@router.api_route(REPO + "/commit/{rev:rev}", methods=["GET", "HEAD"])
def commit(hub: HubDep, caller: CallerDep, name: NameDep, rev: str) -> Response:
    """One commit: who, when and why."""
    repo = _found(hub, caller, name)
    _, found = _open(hub, repo, rev)
    return html.page("commit.html", **_of(repo, "history"), commit=found, revision=found.oid)


def _listing(
    hub: Hub, caller: Principal, kind: Kind, *, q: str, page: int, namespace: str | None = None
) -> Response:
    page = _bounded(page)
    with hub.database.reading() as session:
        repos = _repos(session, caller, kind, q=q, page=page, namespace=namespace)
    if namespace is not None and not repos and not q:
        raise NotFound(f"{namespace!r} has no {kind.plural} here that you may see.")
    return html.page(
        "listing.html",
        kind=kind,
        namespace=namespace,
        query=q,
        page=page,
        repos=[(name_of(repo), repo) for repo in repos[:PER_PAGE]],
        more=len(repos) > PER_PAGE and page < LAST_PAGE,
        caller=caller,
    )


def _repos(
    session: Session, caller: Principal, kind: Kind, *, q: str, page: int, namespace: str | None
) -> list[Repo]:
    """One more than a page has, the last changed first."""
    asked = select(Repo).where(Repo.kind == kind.value, visible(caller))
    if namespace is not None:
        asked = asked.where(Repo.key.startswith(f"{namespace.lower()}/", autoescape=True))
    for word in q.lower().split()[:8]:
        asked = asked.where(Repo.key.contains(word, autoescape=True))
    newest = asked.order_by(Repo.updated_at.desc(), Repo.id.desc())
    return list(session.scalars(newest.offset((page - 1) * PER_PAGE).limit(PER_PAGE + 1)))


def _found(hub: Hub, caller: Principal, name: RepoName, *, content: bool = False) -> Repo:
    """The repository, if the caller may see it; `content`: and what its files hold."""
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name)
        if content:
            check_content(session, caller, repo)
        return repo


def _open(hub: Hub, repo: Repo, revision: str) -> tuple[GitRepo, Commit]:
    git = hub.git.open(repo.id)
    return git, git.resolve(revision)


def _files(git: GitRepo, commit: Commit, path: str) -> list[Any]:
    """What lies in a folder: folders first, then files; at most one more than `MOST_FILES`."""
    entries = []
    for entry in git.entries(commit, path, recursive=False):
        entries.append(entry)
        if len(entries) > MOST_FILES:
            break
    return sorted(entries, key=lambda entry: (entry.kind == "file", entry.path))


def _facts(repo: Repo) -> list[tuple[str, str]]:
    """What is known of a repository, as lines of a table."""
    license_name = (repo.card or {}).get("license")
    found: list[tuple[str, str | None]] = [
        ("Task", repo.pipeline_tag),
        ("Library", repo.library),
        ("Licence", str(license_name) if license_name else None),
        ("Parameters", amount(repo.parameters) if repo.parameters else None),
        ("Size", size(repo.stored_bytes)),
        ("Downloads", f"{repo.downloads:,}"),
        ("Likes", f"{repo.likes:,}"),
        ("Changed", html.day(repo.updated_at)),
    ]
    return [(label, value) for label, value in found if value]


def _of(repo: Repo, tab: str) -> dict[str, Any]:
    """What every page of a repository needs; `tab` is the one that is open."""
    name = name_of(repo)
    return {"name": name, "at": f"/{quote(name.path)}", "repo": repo, "tab": tab}


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _bounded(page: int) -> int:
    return min(max(page, 1), LAST_PAGE)
