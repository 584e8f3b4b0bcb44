"""git-lfs' protocol: which large files to send or fetch, and where; and the files themselves.

The model: `batch` is asked with the caller's token and answers with signed URLs, each good for one thing: to
send one file or one part of it, to say that all parts are there, to fetch one. So neither git-lfs nor
huggingface_hub has to send its token along with the bytes. Locks are not supported, which git-lfs accepts.
Errors of this protocol have a form of their own, which the server gives them by the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import BadRequest, NotFound, PayloadTooLarge, RepoNotFound, Unauthorized
from lanza.hub import lfs, multipart
from lanza.hub.access import check_content, find_repo, name_of
from lanza.hub.api.dependencies import CallerDep, HubDep, OriginDep, json_body
from lanza.hub.api.paths import plain
from lanza.hub.api.ranges import asked_span, has_already
from lanza.hub.api.resolve import Pieces
from lanza.hub.hub import Hub
from lanza.hub.lfs import Large
from lanza.hub.names import RepoName, parse_repo
from lanza.hub.records import Repo
from lanza.hub.repos import check_room

router = APIRouter()

LFS: Final = "/{plural:prefix}{repo:repo}/info/lfs"
MEDIA: Final = "application/vnd.git-lfs+json"

MOST_OBJECTS: Final = 10_000
SECONDS: Final = 6 * 3600
"""How long signed URLs are good: an upload begins within that time."""
PARTS_SECONDS: Final = 24 * 3600


class Object(msgspec.Struct):
    oid: str
    size: int


class Batch(msgspec.Struct):
    operation: str
    objects: list[Object]
    transfers: list[str] = []
    hash_algo: str = "sha256"


class Completion(msgspec.Struct):
    """Which parts there are clients say too, and the server knows."""

    oid: str


def lfs_name(request: Request) -> RepoName:
    """The repository in the URL, with or without `.git`."""
    return parse_repo(request.path_params["plural"], plain(request.path_params["repo"]).removesuffix(".git"))


async def _lfs_name(request: Request) -> RepoName:
    return lfs_name(request)


LfsNameDep = Annotated[RepoName, Depends(_lfs_name)]


@router.post(f"{LFS}/objects/batch")
def batch(
    hub: HubDep,
    caller: CallerDep,
    origin: OriginDep,
    name: LfsNameDep,
    asked: Annotated[Any, json_body(Batch, 4 * 2**20)],
) -> Response:
    """Say for each large file what is to be done with it: nothing, when it is where it should be."""
    request: Batch = asked
    if request.hash_algo != "sha256" or request.operation not in ("upload", "download"):
        raise BadRequest("this server knows uploads and downloads of files by their sha256.")
    if len(request.objects) > MOST_OBJECTS:
        raise PayloadTooLarge(f"ask for at most {MOST_OBJECTS:,} files at once.")
    files = [Large(sha256=it.oid, size=it.size) for it in request.objects]
    for file in files:
        file.check()
    answer = _uploads if request.operation == "upload" else _downloads
    objects = answer(hub, caller, name, origin, files, "multipart" in request.transfers)
    parted = any("chunk_size" in it.get("actions", {}).get("upload", {}).get("header", {}) for it in objects)
    body = {"transfer": "multipart" if parted else "basic", "objects": objects, "hash_algo": "sha256"}
    return Response(orjson.dumps(body), media_type=MEDIA)


def _find(session: Session, caller: Principal, name: RepoName, scope: Scope) -> Repo:
    """As `find_repo`; but git-lfs sends no token before it hears that one is needed."""
    try:
        return find_repo(session, caller, name, scope=scope)
    except RepoNotFound:
        if caller.anonymous:
            raise Unauthorized(f"{name} needs a token, if it exists: send one as the password.") from None
        raise


def _uploads(
    hub: Hub, caller: Principal, name: RepoName, origin: str, files: Sequence[Large], in_parts: bool
) -> list[dict[str, Any]]:
    with hub.database.writing() as session:
        repo = _find(session, caller, name, Scope.WRITE)
        base = f"{origin}/{name_of(repo).path}.git/info/lfs"
        new = [file for file in files if not lfs.has_already(hub, session, caller, repo.id, file)]
        check_room(session, hub, session.get_one(Account, repo.owner_id), sum(file.size for file in new))
        actions = {file: _upload(hub, session, repo.id, base, file, in_parts) for file in new}
    return [
        {"oid": file.sha256, "size": file.size} | ({"actions": actions[file]} if file in actions else {})
        for file in files
    ]


def _upload(
    hub: Hub, session: Session, repo_id: int, base: str, file: Large, in_parts: bool
) -> dict[str, Any]:
    """Where to send a file: in one piece, or in parts to clients that can."""
    claims = {"repo": repo_id, "oid": file.sha256, "size": file.size}
    verify = {"href": _signed(hub, "lfs-verify", f"{base}/verify", claims, PARTS_SECONDS)}
    if file.size <= multipart.LARGEST_PIECE or not in_parts:
        href = _signed(hub, "lfs-upload", f"{base}/objects/{file.sha256}", claims, SECONDS)
        return {"upload": {"href": href, "expires_in": SECONDS}, "verify": verify}
    upload = multipart.begin_parts(session, repo_id, file)
    where = f"{base}/parts/{upload.id}"
    parts = {
        str(number): _signed(
            hub, "lfs-part", f"{where}/{number}", {"upload": upload.id, "part": number}, PARTS_SECONDS
        )
        for number in range(1, multipart.count_parts(upload) + 1)
    }
    header = {"chunk_size": str(upload.chunk_size), **parts}
    href = _signed(hub, "lfs-complete", where, {"upload": upload.id}, PARTS_SECONDS)
    return {"upload": {"href": href, "header": header, "expires_in": PARTS_SECONDS}, "verify": verify}


def _downloads(
    hub: Hub, caller: Principal, name: RepoName, origin: str, files: Sequence[Large], _: bool
) -> list[dict[str, Any]]:
    with hub.database.reading() as session:
        repo = _find(session, caller, name, Scope.READ)
        check_content(session, caller, repo)
        base = f"{origin}/{name_of(repo).path}.git/info/lfs"
        return [_download(hub, session, repo.id, base, file) for file in files]


def _download(hub: Hub, session: Session, repo_id: int, base: str, file: Large) -> dict[str, Any]:
    named = {"oid": file.sha256, "size": file.size}
    if lfs.find(session, repo_id, file.sha256) != file:
        missing = "the repository has no such large file: whoever has it can push it with `git lfs push`."
        return named | {"error": {"code": 404, "message": missing}}
    href = _signed(hub, "lfs-download", f"{base}/objects/{file.sha256}", named, SECONDS)
    return named | {"actions": {"download": {"href": href, "expires_in": SECONDS}}}


def _signed(hub: Hub, purpose: str, url: str, claims: dict[str, Any], seconds: int) -> str:
    return f"{url}?signature={hub.signer.sign(purpose, claims, seconds=seconds)}"


def _file(claims: dict[str, Any], oid: str) -> Large:
    """The file that a signed URL is for. Unauthorized when it was put on another."""
    if claims["oid"] != oid:
        raise Unauthorized("this signature is for another file.")
    return Large(sha256=oid, size=claims["size"])


@router.put(f"{LFS}/objects/{{oid}}")
async def upload(request: Request, hub: HubDep, oid: str, signature: str = "") -> Response:
    """Take a file in one piece."""
    claims = hub.signer.verify("lfs-upload", signature)
    file = _file(claims, oid)
    _check_length(request, file.size)
    await lfs.receive(hub, claims["repo"], file, request.stream())
    return Response(status_code=200, headers={"ETag": f'"{oid}"'})


@router.put(f"{LFS}/parts/{{upload_id}}/{{number:int}}")
async def upload_part(
    request: Request, hub: HubDep, upload_id: str, number: int, signature: str = ""
) -> Response:
    """Take a part of a file."""
    if hub.signer.verify("lfs-part", signature) != {"upload": upload_id, "part": number}:
        raise Unauthorized("this signature is for another part.")
    etag = await multipart.receive_part(hub, upload_id, number, request.stream())
    return Response(status_code=200, headers={"ETag": etag})


@router.post(f"{LFS}/parts/{{upload_id}}")
async def complete(
    hub: HubDep, upload_id: str, asked: Annotated[Any, json_body(Completion)], signature: str = ""
) -> Response:
    """Make a file of its parts."""
    completion: Completion = asked
    if hub.signer.verify("lfs-complete", signature) != {"upload": upload_id}:
        raise Unauthorized("this signature is for another upload.")
    await hub.blobs.work(multipart.complete, hub, upload_id, completion.oid)
    return Response(orjson.dumps({"success": True}), media_type=MEDIA)


@router.post(f"{LFS}/verify")
def verify(hub: HubDep, asked: Annotated[Any, json_body(Object)], signature: str = "") -> Response:
    """Say whether a file has come."""
    claims = hub.signer.verify("lfs-verify", signature)
    file = _file(claims, asked.oid)
    with hub.database.reading() as session:
        found = lfs.find(session, claims["repo"], file.sha256)
    if found is None:
        raise NotFound(f"{file.sha256} has not come: send it again.")
    if found.size != asked.size:
        raise BadRequest(f"{file.sha256} has {found.size:,} bytes here, and not {asked.size:,}.")
    return Response(orjson.dumps({}), media_type=MEDIA)


@router.head(f"{LFS}/objects/{{oid}}")
@router.get(f"{LFS}/objects/{{oid}}")
def download(request: Request, hub: HubDep, oid: str, signature: str = "") -> Response:
    """Give a file, or a part of it."""
    file = _file(hub.signer.verify("lfs-download", signature), oid)
    etag = f'"{oid}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "attachment",
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
        "ETag": etag,
    }
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    span = asked_span(request.headers, etag=etag, size=file.size) if request.method == "GET" else None
    start, stop = (span.start, span.stop) if span else (0, file.size)
    headers["Content-Length"] = str(stop - start)
    if span:
        headers["Content-Range"] = span.header(file.size)
    status = 206 if span else 200
    if request.method == "HEAD" or start == stop:
        return Response(status_code=status, headers=headers)
    return Pieces(hub.blobs.read(oid, start, stop), status_code=status, headers=headers)


@router.api_route(f"{LFS}/locks{{rest:path}}", methods=["GET", "POST"], include_in_schema=False)
async def locks(rest: str) -> Response:
    """A 404 tells git-lfs to go on without."""
    raise NotFound("this server has no locks for large files; nothing needs them.")


def _check_length(request: Request, size: int) -> None:
    """Refuse before the body comes, when it says itself that it is of another size."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) != size:
        raise BadRequest(f"this file has {size:,} bytes, and {int(length):,} are being sent: check it.")
