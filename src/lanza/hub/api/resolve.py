"""The files of a repository: `resolve` gives what a file holds, `raw` what git keeps of it.

The ETag is the content's hash: SHA-256 of a large file, git's own of others. What a browser would run is
never shown in it: such files come as attachments, and everything in a sandbox. Large files are read from the
blob store piece by piece, on threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from lanza.auth.principal import Principal
from lanza.errors import EntryNotFound
from lanza.hub.access import check_content, find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep
from lanza.hub.api.ranges import asked_span, has_already
from lanza.hub.contents import entry_at
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.objects import Commit, Entry
from lanza.hub.records import RepoBlob

router = APIRouter()

RESOLVE: Final = "/{plural:prefix}{repo:repo}/resolve/{rev:rev}/{path:file}"
RAW: Final = "/{plural:prefix}{repo:repo}/raw/{rev:rev}/{path:file}"

PIECE: Final = 2 * 2**20
"""Bytes of a large file that are read at once. Larger ones are faster, and each client holds two."""

_TEXT: Final = "text/plain; charset=utf-8"
SHOWN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (".cfg", ".csv", ".ini", ".jinja", ".jsonl", ".md", ".py", ".toml", ".tsv", ".txt", ".yaml", ".yml"),
        _TEXT,
    ),
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
}
"""What a browser may show, by the name's end. All else is offered to be saved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A file of a repository that the caller may read, and the commit that it was found in."""

    repo_id: int
    git: GitRepo
    commit: Commit
    entry: Entry


@router.head(RESOLVE)
@router.get(RESOLVE)
def resolve(request: Request, hub: HubDep, caller: CallerDep, name: NameDep, rev: str, path: str) -> Response:
    """A file, whole or a part of it. 404s name the commit too, so that clients remember what is missing."""
    found = find_file(hub, caller, name, rev, path)
    _check_reach(hub, found)
    answer = file_answer(request, hub, found)
    if request.method == "GET" and answer.status_code in (200, 206):
        _count(request, caller, found)
    return answer


@router.head(RAW)
@router.get(RAW)
def raw(request: Request, hub: HubDep, caller: CallerDep, name: NameDep, rev: str, path: str) -> Response:
    """A file as git keeps it: of a large file, its pointer."""
    return file_answer(request, hub, find_file(hub, caller, name, rev, path), pointer=True)


def find_file(hub: Hub, caller: Principal, name: RepoName, revision: str, path: str) -> Found:
    """RepoNotFound, Gated, RevisionNotFound or EntryNotFound say what is missing, in this order."""
    with hub.database.reading() as session:
        repo = find_repo(session, caller, name)
        check_content(session, caller, repo)
        repo_id = repo.id
    git = hub.git.open(repo_id)
    commit = git.resolve(revision)
    entry = entry_at(git, commit, path)
    if entry is None or entry.kind != "file":
        raise EntryNotFound(f"{name} has no file {path!r} at {revision}.", commit=commit.oid)
    return Found(repo_id=repo_id, git=git, commit=commit, entry=entry)


def _check_reach(hub: Hub, found: Found) -> None:
    """EntryNotFound for a pointer to a blob that is not the repository's, however it came to be there."""
    if found.entry.lfs is None:
        return
    with hub.database.reading() as session:
        if session.get(RepoBlob, (found.repo_id, found.entry.lfs.sha256)) is None:
            raise EntryNotFound(
                f"the content of {found.entry.path!r} was never uploaded to this repository: upload the file "
                "again.",
                commit=found.commit.oid,
            )


def file_answer(request: Request, hub: Hub, found: Found, *, pointer: bool = False) -> Response:
    """The answer for a file: 200, 206 or 304. RangeNotSatisfiable."""
    entry = found.entry
    large = None if pointer else entry.lfs
    oid, size = (large.sha256, large.size) if large else (entry.oid, _size_in_git(entry))
    etag = f'"{oid}"'
    headers = {**_headers(entry.path, download="download" in request.query_params), "ETag": etag}
    headers["X-Repo-Commit"] = found.commit.oid
    if large:
        headers |= {"X-Linked-Size": str(size), "X-Linked-ETag": etag}
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    span = asked_span(request.headers, etag=etag, size=size) if request.method == "GET" else None
    start, stop = (span.start, span.stop) if span else (0, size)
    headers["Content-Length"] = str(stop - start)
    if span:
        headers["Content-Range"] = span.header(size)
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    if large and start < stop:
        return Pieces(hub.blobs.read(large.sha256, start, stop, PIECE), status_code=status, headers=headers)
    content = b"" if large else found.git.read(entry.oid)[start:stop]
    return Response(content, status_code=status, headers=headers)


def _size_in_git(entry: Entry) -> int:
    return entry.lfs.pointer_size if entry.lfs else entry.size


def _headers(path: str, *, download: bool) -> dict[str, str]:
    """What a browser needs to know of the file, and that it must not trust it."""
    name = PurePosixPath(path).name
    shown = SHOWN.get(PurePosixPath(name.lower()).suffix)
    how = "attachment" if download or shown is None else "inline"
    ascii_name = re.sub(r'[^ -~]|["\\]', "_", name)
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}; filename=\"{ascii_name}\";",
        "Content-Security-Policy": "sandbox",
        "Content-Type": shown or "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
    }


def _count(request: Request, caller: Principal, found: Found) -> None:
    downloads = getattr(request.app.state, "downloads", None)
    if downloads is not None:
        address = request.client.host if request.client else ""
        downloads.count(found.repo_id, address if caller.anonymous else f"account {caller.account_id}")


class Pieces(StreamingResponse):
    """A body of several pieces, each read on a thread.

    The first is read before the status is sent, so that a file that cannot be read is an error like any
    other, and not a 200 that breaks off. When the client leaves, reading stops with the piece at hand.
    """

    def __init__(self, pieces: Iterator[bytes], *, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(pieces, status_code, headers)
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        try:
            following = aiter(self.body_iterator)
            piece = await anext(following, b"")
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            while piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await anext(following, b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if (close := getattr(self._pieces, "close", None)) is not None:
                close()
