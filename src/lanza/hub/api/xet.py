"""Uploads by Xet: the token for them, and the server of chunks that today's clients send to.

The model: whoever may write to a repository gets a token, which names the account, the repository and the
account's store. The store's id is part of the address that comes with it (`/cas/ID`): clients remember by
address what they have sent. There is no read side: files are downloaded whole from `resolve`. Nothing is
said of what others have sent, so chunks are never known, and clients ask in vain (404) and go on.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lanza.auth import principal
from lanza.auth.principal import Principal
from lanza.errors import BadRequest, Conflict, Forbidden, NotFound, PayloadTooLarge, Unauthorized
from lanza.hub.access import find_repo
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, OriginDep, read_body
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.xet import assembly, store
from lanza.hub.xet.formats import read_shard

router = APIRouter()

PURPOSE: Final = "xet"
TOKEN_SECONDS: Final = 3600

MOST_XORB: Final = 80 * 2**20
"""Bytes of a xorb as it is sent: 64 MiB of chunks, their headers, an old client's footer."""
MOST_SHARD: Final = 160 * 2**20

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TAKEN: Final = re.compile(r"/cas/[^/]+/(v1/)?(xorbs|shards|telemetry)(/|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """What a token for `/cas` says: this account may send to this store, for this repository."""

    account: int
    repo: int
    store: str


@router.get("/api/{plural:kind}/{repo:repo}/xet-write-token/{rev:rev}")
def write_token(
    hub: HubDep, caller: CallerDep, origin: OriginDep, name: NameDep, create_pr: str = ""
) -> Response:
    """Where to send chunks, and with which token: as headers for Python, as a body for hf_xet itself."""
    if create_pr not in ("", "0", "false", "False"):
        raise BadRequest("there are no pull requests on this server: commit to a branch.")
    ticket = _issue(hub, caller, name)
    token = hub.signer.sign(PURPOSE, asdict(ticket), seconds=TOKEN_SECONDS)
    address, until = f"{origin}/cas/{ticket.store}", int(time.time()) + TOKEN_SECONDS
    headers = {
        "X-Xet-Cas-Url": address,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(until),
        "Cache-Control": "no-store",
    }
    return JSONResponse({"casUrl": address, "accessToken": token, "exp": until}, headers=headers)


def _issue(hub: Hub, caller: Principal, name: RepoName) -> Ticket:
    with hub.database.writing() as session:
        repo = find_repo(session, caller, name, scope=principal.Scope.WRITE)
        assert caller.account_id is not None  # nobody else may write
        mine = store.open_store(session, caller.account_id)
        return Ticket(account=caller.account_id, repo=repo.id, store=mine)


@router.post("/cas/{store_id}/v1/xorbs/{prefix}/{xorb}")
@router.post("/cas/{store_id}/xorbs/{prefix}/{xorb}", include_in_schema=False)  # before hf_xet 1.3
async def xorb(request: Request, hub: HubDep, store_id: str, xorb: str) -> Response:
    """Take a bundle of chunks."""
    ticket = await run_in_threadpool(_check, request, hub, store_id)
    if not _HASH.fullmatch(xorb):
        raise BadRequest(f"{xorb!r} is no hash of a xorb.")
    new = await store.receive(hub, ticket.account, xorb, _bounded(request))
    return JSONResponse({"was_inserted": new})


@router.post("/cas/{store_id}/v1/shards")
@router.post("/cas/{store_id}/shards", include_in_schema=False)
async def shard(request: Request, hub: HubDep, store_id: str) -> Response:
    """Make files of chunks. The answer comes when they are stored and verified."""
    ticket = await run_in_threadpool(_check, request, hub, store_id)
    body = await read_body(request, MOST_SHARD)
    described = await run_in_threadpool(read_shard, body)
    await hub.blobs.work(assembly.register, hub, ticket.account, ticket.repo, described)
    return JSONResponse({"result": 1})


@router.post("/cas/{store_id}/v1/telemetry", include_in_schema=False)
async def telemetry() -> Response:
    """Nobody here wants to know."""
    return Response(status_code=200)


class WriteOnly:
    """Wraps `app`, and says at once that there is nothing at all other addresses below `/cas`.

    What clients ask for there they can do without: known chunks, grants, newer versions. They ask it once for
    every file and more, so these requests come before all that others go through.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/cas/") and not _TAKEN.match(scope["path"]):
            raise NotFound("this server takes xorbs and shards, and has nothing else at this address.")
        await self.app(scope, receive, send)


def _check(request: Request, hub: Hub, store_id: str) -> Ticket:
    """The token's claims. Unauthorized; Forbidden for another store; Conflict for one that is no more."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("this needs the token that came with the store's address.")
    ticket = Ticket(**hub.signer.verify(PURPOSE, token.strip()))
    if ticket.store != store_id:
        raise Forbidden("this token is for another store.")
    with hub.database.reading() as session:
        if store.store_id(session, ticket.account) != store_id:
            raise Conflict("this store has begun afresh meanwhile: run the upload again.")
    return ticket


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    come = 0
    async for chunk in request.stream():
        come += len(chunk)
        if come > MOST_XORB:
            raise PayloadTooLarge(f"a xorb has at most {MOST_XORB:,} bytes.")
        yield chunk
