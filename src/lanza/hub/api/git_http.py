"""git over HTTP: clone, fetch and push, with and without `.git` at the end of the address.

Fetching is git's own `upload-pack`. A push is taken apart here: its commands are read, its pack goes through
git's `index-pack` into a folder aside, and `receive.py` decides. So what a push brings is checked with the
database at hand before a ref moves, and one lock keeps all writers apart.

git sends a token only after a 401. So who is nobody gets that for whatever they may not see, whether it is
there or not.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from lanza import __version__
from lanza.auth.principal import Principal, Scope
from lanza.auth.records import Account
from lanza.errors import (
    BadRequest,
    DeadlineExceeded,
    Forbidden,
    Gated,
    LanzaError,
    Overloaded,
    PayloadTooLarge,
    RepoNotFound,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from lanza.hub import catalog
from lanza.hub.access import check_content, find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep
from lanza.hub.api.paths import plain
from lanza.hub.git import GitRepo
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName, parse_repo
from lanza.hub.policy import policy_of
from lanza.hub.programs import command, environment, feed, output, run
from lanza.hub.receive import Incoming, sizes_of, wrong_moves
from lanza.hub.records import Repo
from lanza.hub.refs import BRANCH, MAIN
from lanza.hub.repos import check_room
from lanza.hub.wire import FLUSH, MOST_COMMANDS, Push, advertised, packet, packet_length, read_push, report

router = APIRouter(include_in_schema=False)

GIT: Final = "/{plural:prefix}{repo:repo}"

GREETING_SECONDS: Final = 60
EXCHANGE_SECONDS: Final = 3600
"""How long listing the refs, and how long one clone or push may take."""

MOST_ASKED: Final = 32 * 2**20
"""Bytes of what a client says that it wants and has."""

PIECE: Final = 2**20
_PROTOCOL: Final = re.compile(r"[a-z0-9=:.-]{1,100}")


async def _git_name(request: Request) -> RepoName:
    repo_id = plain(request.path_params["repo"]).removesuffix(".git")
    return parse_repo(request.path_params["plural"], repo_id)


GitNameDep = Annotated[RepoName, Depends(_git_name)]


@router.get(GIT + "/info/refs")
def info_refs(
    request: Request, hub: HubDep, caller: CallerDep, name: GitNameDep, service: str = ""
) -> Response:
    """How every exchange begins: the refs, and what this server can do."""
    if service not in ("git-upload-pack", "git-receive-pack"):
        raise Forbidden("this server speaks git's smart protocol only: use git 1.6.6 or newer.")
    pushes = service == "git-receive-pack"
    _, repo = _open(hub, caller, name, Scope.WRITE if pushes else Scope.READ)
    said = _pushing(repo) if pushes else _fetching(hub, repo, request)
    return _answer(said, f"application/x-{service}-advertisement")


@router.post(GIT + "/git-upload-pack")
async def upload_pack(request: Request, hub: HubDep, caller: CallerDep, name: GitNameDep) -> Response:
    """A clone or a fetch: what the client wants and has, answered by what it lacks."""
    _check_type(request, "git-upload-pack")
    _, repo = await run_in_threadpool(_open, hub, caller, name, Scope.READ)
    asked = bytearray()
    async with aclosing(_unzipped(request)) as chunks:
        async for chunk in chunks:
            asked += chunk
            if len(asked) > MOST_ASKED:
                raise PayloadTooLarge("the client asks for more than this server listens to: clone anew.")
    return _Fetch(hub, repo, bytes(asked), _protocol(request))


@router.post(GIT + "/git-receive-pack")
async def receive_pack(request: Request, hub: HubDep, caller: CallerDep, name: GitNameDep) -> Response:
    """A push: commands, then a pack."""
    _check_type(request, "git-receive-pack")
    repo_id, repo = await run_in_threadpool(_open, hub, caller, name, Scope.WRITE)
    with _slot(hub):
        async with aclosing(_unzipped(request)) as chunks:
            body = _Body(chunks)
            with _deadline():
                push = read_push(await body.group())
            # git asks with an empty push whether it may, before it sends much.
            told = await _received(hub, repo_id, repo, push, body) if push.moves else b""
    return _answer(told, "application/x-git-receive-pack-result")


def _open(hub: Hub, caller: Principal, name: RepoName, scope: Scope) -> tuple[int, GitRepo]:
    """The repository, for somebody who may do that with it. Unauthorized makes git ask for a token."""
    try:
        with hub.database.reading() as session:
            repo = find_repo(session, caller, name, scope=scope)
            if scope is Scope.READ:
                check_content(session, caller, repo)
            repo_id = repo.id
    except (RepoNotFound, Gated) as error:
        if caller.anonymous:
            raise Unauthorized(
                f"{name.path} is not there, or not for everybody: give a token as the password."
            ) from error
        raise
    return repo_id, hub.git.open(repo_id)


def _fetching(hub: Hub, repo: GitRepo, request: Request) -> bytes:
    protocol = _protocol(request)
    arguments = ["upload-pack", "--strict", "--stateless-rpc", "--http-backend-info-refs", str(repo.folder)]
    with _slot(hub):
        try:
            done = run(repo.folder, arguments, seconds=GREETING_SECONDS, variables=protocol)
        except subprocess.TimeoutExpired:
            raise Unavailable("the server is too busy to list the refs: try again.", retry_after=10) from None
    if done.returncode:
        raise Unavailable("git cannot read this repository on the server: tell its operator.", retry_after=60)
    second = "version=2" in protocol.get("GIT_PROTOCOL", "").split(":")
    return done.stdout if second else packet(b"# service=git-upload-pack\n") + FLUSH + done.stdout


def _pushing(repo: GitRepo) -> bytes:
    refs = advertised(repo.refs.values(), agent=f"lanza/{__version__}")
    return packet(b"# service=git-receive-pack\n") + FLUSH + refs


def _protocol(request: Request) -> dict[str, str]:
    """The version that the client speaks, for git's environment."""
    asked = request.headers.get("git-protocol", "")
    return {"GIT_PROTOCOL": asked} if _PROTOCOL.fullmatch(asked) else {}


def _answer(content: bytes, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _check_type(request: Request, service: str) -> None:
    wanted = f"application/x-{service}-request"
    if request.headers.get("content-type") != wanted:
        raise UnsupportedMedia(f"this address takes {wanted} only, as git sends it.")


@contextmanager
def _slot(hub: Hub) -> Iterator[None]:
    """Room for one program of git's. Overloaded when as many run as may."""
    if not hub.git.programs.acquire(blocking=False):
        raise Overloaded("the server talks to as many git clients as it may: try again.", retry_after=10)
    try:
        yield
    finally:
        hub.git.programs.release()


@contextmanager
def _deadline() -> Iterator[None]:
    """How long a client may take to send something. DeadlineExceeded."""
    try:
        with anyio.fail_after(EXCHANGE_SECONDS):
            yield
    except TimeoutError:
        raise DeadlineExceeded("the push took too long, and nothing of it was kept.") from None


class _Fetch(StreamingResponse):
    """What `git upload-pack` answers. The program ends with the answer, or when the client leaves."""

    def __init__(self, hub: Hub, repo: GitRepo, asked: bytes, protocol: Mapping[str, str]) -> None:
        self._hub = hub
        self._pieces = _uploaded(repo, asked, protocol)
        super().__init__(
            self._pieces,
            media_type="application/x-git-upload-pack-result",
            headers={"Cache-Control": "no-cache"},
        )

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._pieces):
            with _slot(self._hub), anyio.fail_after(EXCHANGE_SECONDS):
                await super().stream_response(send)


async def _uploaded(repo: GitRepo, asked: bytes, protocol: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
    arguments = command("upload-pack", "--strict", "--stateless-rpc", str(repo.folder))
    with tempfile.TemporaryFile() as stdin:
        stdin.write(asked)
        stdin.seek(0)
        async with aclosing(output(arguments, environment(**protocol), stdin)) as pieces:
            async for piece in pieces:
                yield piece


async def _received(hub: Hub, repo_id: int, repo: GitRepo, push: Push, body: _Body) -> bytes:
    """Take in what a push brings; gives the report about it."""
    incoming = await run_in_threadpool(Incoming, repo)
    try:
        if push.brings_objects:
            arguments, variables = incoming.unpacker(hub.limits.commit_bytes)
            with _deadline():
                status, said = await feed(arguments, variables, body.rest())
            if status:
                full = "No space left" in said
                why = "the server's disk is full" if full else "its objects are not good"
                refused = {move.ref: why for move in push.moves}
                return report(push, refused, unpacked="index-pack failed", notes=said.splitlines())
        return await run_in_threadpool(_decide, hub, repo_id, push, incoming)
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(incoming.close)


def _decide(hub: Hub, repo_id: int, push: Push, incoming: Incoming) -> bytes:
    """Look at what came, and move the refs that may move."""
    refused = wrong_moves(push.moves)
    if refused and push.atomic:
        refused = {
            move.ref: refused.get(move.ref, "another ref of this push was refused") for move in push.moves
        }
    moves = [move for move in push.moves if move.ref not in refused]
    sizes = partial(sizes_of, hub.database, repo_id)
    notes: Sequence[str] = ()
    try:
        with hub.database.reading() as session:
            owner = session.get_one(Account, session.get_one(Repo, repo_id).owner_id)
            policy = policy_of(hub, owner)
        notes = incoming.complaints(moves, sizes, policy, regular_bytes=hub.limits.regular_bytes)
        if notes:
            refused |= {move.ref: "it holds what cannot be kept here" for move in moves}
        elif moves:
            with hub.database.reading() as session:
                check_room(session, hub, owner, incoming.size)
            refused |= incoming.accept(moves, atomic=push.atomic)
    except LanzaError as error:
        refused |= {move.ref: error.message for move in moves}
    if any(move.ref == BRANCH + MAIN and move.ref not in refused for move in moves):
        catalog.refresh(hub, repo_id)
    return report(push, refused, notes=notes)


class _Body:
    """The body of a push: packets up to the end of their group, then the rest as it comes."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._kept = bytearray()

    async def group(self) -> list[bytes]:
        """The packets before the first end of a group. BadRequest, PayloadTooLarge."""
        packets: list[bytes] = []
        while (length := packet_length(await self._take(4))) > 0:
            packets.append(await self._take(length))
            if len(packets) > MOST_COMMANDS:
                raise PayloadTooLarge(f"push at most {MOST_COMMANDS:,} branches and tags at a time.")
        return packets

    async def rest(self) -> AsyncIterator[bytes]:
        if self._kept:
            yield bytes(self._kept)
        async for chunk in self._chunks:
            yield chunk

    async def _take(self, count: int) -> bytes:
        while len(self._kept) < count:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise BadRequest("the push ends in the middle of a command: push again.")
            self._kept += chunk
        taken = bytes(self._kept[:count])
        del self._kept[:count]
        return taken


async def _unzipped(request: Request) -> AsyncGenerator[bytes, None]:
    """The body, in pieces of bounded size. git zips what it asks for."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding not in ("gzip", "x-gzip", "identity"):
        raise UnsupportedMedia(f"this server reads no {encoding}: send gzip, or plain bytes.")
    if encoding == "identity":
        async for chunk in request.stream():
            yield chunk
        return
    unzip = zlib.decompressobj(wbits=31)
    try:
        async for chunk in request.stream():
            left = chunk
            while left and not unzip.eof:
                yield unzip.decompress(left, PIECE)
                left = unzip.unconsumed_tail
    except zlib.error as error:
        raise BadRequest(f"the body is no gzip: {error}.") from error
    if not unzip.eof:
        raise BadRequest("the gzip body ends too early: send it again.")
