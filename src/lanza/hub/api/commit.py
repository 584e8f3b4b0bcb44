"""`POST .../commit/{branch}`: many changes to a branch as one commit, sent as lines of JSON.

The first line is the header; each one after it is a file with its content, a large file that was uploaded
before, or something to delete. Lines are read as they come, each bounded by what a file in git may have.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from lanza.auth.principal import Principal, Scope
from lanza.errors import BadRequest, PayloadTooLarge
from lanza.hub import commits
from lanza.hub.access import find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, OriginDep
from lanza.hub.api.preupload import NO_PULL_REQUESTS
from lanza.hub.commits import Header, LargeFile, Operation
from lanza.hub.hub import Hub, HubLimits
from lanza.hub.names import RepoName, check_path
from lanza.hub.trees import Delete, DeleteFolder, Put

router = APIRouter()

AT_ONCE: Final = 2**20
"""Bytes of a body that are read before a thread takes them apart."""

SLACK: Final = 2**16
"""What a line may hold beside a file's content: its path."""


class HeaderValue(msgspec.Struct, rename="camel"):
    summary: str
    description: str | None = None
    parent_commit: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{5,40}$")] | None = None


class FileValue(msgspec.Struct):
    path: str
    content: str
    encoding: Literal["base64", "utf-8"] = "base64"


class LargeFileValue(msgspec.Struct):
    path: str
    oid: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    algo: Literal["sha256"] = "sha256"


class PathValue(msgspec.Struct):
    path: str


class HeaderLine(msgspec.Struct, tag_field="key", tag="header"):
    value: HeaderValue


class FileLine(msgspec.Struct, tag_field="key", tag="file"):
    value: FileValue


class LargeFileLine(msgspec.Struct, tag_field="key", tag="lfsFile"):
    value: LargeFileValue


class DeletedFileLine(msgspec.Struct, tag_field="key", tag="deletedFile"):
    value: PathValue


class DeletedFolderLine(msgspec.Struct, tag_field="key", tag="deletedFolder"):
    value: PathValue


Line = HeaderLine | FileLine | LargeFileLine | DeletedFileLine | DeletedFolderLine


@router.post("/api/{plural:kind}/{repo:repo}/commit/{rev:rev}")
async def commit(
    request: Request,
    hub: HubDep,
    caller: CallerDep,
    origin: OriginDep,
    name: NameDep,
    rev: str,
    create_pr: bool = False,
) -> dict[str, object]:
    """Nothing of the body is read before it is known that the caller may write."""
    if create_pr:
        raise BadRequest(NO_PULL_REQUESTS)
    await run_in_threadpool(_check_writable, hub, caller, name)
    reader = CommitReader(hub.limits)
    async for piece in _in_pieces(request):
        await run_in_threadpool(reader.feed, piece)
    header, operations = reader.close()
    made = await run_in_threadpool(commits.apply, hub, caller, name, rev, header, operations)
    url = f"{origin}/{name.path}/commit/{made.oid}"
    return {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""}


def _check_writable(hub: Hub, caller: Principal, name: RepoName) -> None:
    with hub.database.reading() as session:
        find_repo(session, caller, name, scope=Scope.WRITE)


async def _in_pieces(request: Request) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= AT_ONCE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


class CommitReader:
    """Takes the lines of a commit apart. Every error names the line that it is about."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._longest = limits.regular_bytes * 4 // 3 + SLACK
        self._decoder = msgspec.json.Decoder(Line)
        self._begun: list[bytes] = []  # of a line whose end has not come
        self._size = 0
        self._number = 0
        self._header: Header | None = None
        self._operations: list[Operation] = []

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.commit_bytes:
            raise PayloadTooLarge(
                f"a commit may have {self._limits.commit_bytes:,} bytes: split it into several, or send "
                "large files by LFS or Xet."
            )
        *lines, rest = piece.split(b"\n")
        for line in lines:
            self._line(b"".join((*self._begun, line)))
            self._begun.clear()
        self._begun.append(rest)
        if sum(map(len, self._begun)) > self._longest:
            raise self._too_long(self._number + 1)

    def close(self) -> tuple[Header, list[Operation]]:
        """The whole commit. BadRequest when there is none."""
        self._line(b"".join(self._begun))
        if self._header is None:
            raise BadRequest("this commit has no lines: begin with the header, one JSON object in each line.")
        return self._header, self._operations

    def _line(self, line: bytes) -> None:
        self._number += 1
        if not line.strip():
            return
        if len(line) > self._longest:
            raise self._too_long(self._number)
        try:
            self._take(self._decoder.decode(line))
        except (msgspec.DecodeError, BadRequest) as error:
            raise BadRequest(f"line {self._number} of the commit: {error}") from error

    def _take(self, line: Line) -> None:
        if isinstance(line, HeaderLine) != (self._header is None):
            raise BadRequest('a commit has one line with the key "header", and it is the first.')
        if isinstance(line, HeaderLine):
            self._header = header_of(line.value)
            return
        if len(self._operations) == self._limits.commit_files:
            raise BadRequest(
                f"a commit may change {self._limits.commit_files:,} files: split it into several."
            )
        self._operations.append(operation_of(line, largest=self._limits.regular_bytes))

    def _too_long(self, number: int) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"line {number} of the commit is too long: a file of more than {self._limits.regular_bytes:,} "
            "bytes must be uploaded as a large file, by LFS or Xet."
        )


def header_of(value: HeaderValue) -> Header:
    """Title and description: a summary of several lines is a title and the begin of the description."""
    title, _, more = value.summary.strip().partition("\n")
    if not title:
        raise BadRequest('the commit needs a "summary".')
    described = "\n\n".join(part for part in (more.strip(), (value.description or "").strip()) if part)
    if "\0" in title + described:
        raise BadRequest("a commit's message cannot hold NUL.")
    return Header(title=title.strip(), description=described, parent=value.parent_commit)


def operation_of(
    line: FileLine | LargeFileLine | DeletedFileLine | DeletedFolderLine, *, largest: int
) -> Operation:
    """One change. BadRequest for a path that no file may have, and for content that cannot be."""
    if isinstance(line, DeletedFolderLine):
        return DeleteFolder(path=check_path(line.value.path.rstrip("/")))
    path = check_path(line.value.path)
    if isinstance(line, DeletedFileLine):
        return Delete(path=path)
    if isinstance(line, LargeFileLine):
        return LargeFile(path=path, sha256=line.value.oid, size=line.value.size)
    content = content_of(line.value)
    if len(content) > largest:
        raise BadRequest(
            f"{path!r} has {len(content):,} bytes: files of more than {largest:,} must be uploaded as large "
            "files, by LFS or Xet."
        )
    return Put(path=path, content=content)


def content_of(value: FileValue) -> bytes:
    """BadRequest when it is not in the encoding that it claims."""
    try:
        return (
            base64.b64decode(value.content, validate=True)
            if value.encoding == "base64"
            else value.content.encode()
        )
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"the content of {value.path!r} is not valid {value.encoding}: {error}.") from error
