"""Gated repositories over HTTP: asking to be let in, and letting in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from lanza.auth import accounts
from lanza.auth.records import Account
from lanza.errors import BadRequest, NotFound
from lanza.hub import gating
from lanza.hub.api.dependencies import CallerDep, HubDep, NameDep, json_body, read_body
from lanza.hub.api.paths import cursor_of, next_page
from lanza.hub.info import moment
from lanza.hub.records import AccessRequest
from lanza.hub.search import Number

router = APIRouter()

REQUESTS: Final = "/api/{plural:kind}/{repo:repo}/user-access-request"
PAGE: Final = 500


class Decision(msgspec.Struct, rename="camel"):
    """What becomes of a request: by the name of the user, or by the number of the request."""

    status: str
    user: str | None = None
    request_id: str | None = None
    rejection_reason: str | None = None


class Invited(msgspec.Struct):
    user: str


class Place(msgspec.Struct, array_like=True):
    """The last request of a page."""

    since: datetime
    account: Number


async def _fields(request: Request) -> dict[str, str]:
    """What the one who asks has filled in: a form, or a JSON object of texts."""
    body = await read_body(request, 64 * 2**10)
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            return msgspec.json.decode(body or b"{}", type=dict[str, str])
        return dict(parse_qsl(body.decode(), max_num_fields=gating.MOST_FIELDS))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the fields of the request cannot be read: {error}.") from error


@router.post("/{plural:prefix}{repo:repo}/ask-access")
def ask(
    hub: HubDep, caller: CallerDep, name: NameDep, fields: Annotated[dict[str, str], Depends(_fields)]
) -> dict[str, Any]:
    """Ask to be let in. Gives what became of it: pending, or accepted."""
    with hub.database.writing() as session:
        return {"status": gating.ask(session, caller, name, fields)}


@router.get(REQUESTS + "/{status}")
def requests(
    request: Request,
    response: Response,
    hub: HubDep,
    caller: CallerDep,
    name: NameDep,
    status: str,
    cursor: str | None = None,
) -> list[dict[str, Any]]:
    """The requests of one status, for those who may decide them."""
    place = cursor_of(cursor, Place)
    after = (place.since, place.account) if place else None
    with hub.database.reading() as session:
        page = gating.requests(session, caller, name, status, limit=PAGE + 1, after=after)
    if len(page) > PAGE:
        last, _ = page[PAGE - 1]
        response.headers.update(next_page(request, Place(last.created_at, last.account_id)))
    return [_told(each, account) for each, account in page[:PAGE]]


@router.post(REQUESTS + "/handle")
def decide(
    hub: HubDep, caller: CallerDep, name: NameDep, wanted: Annotated[Decision, json_body(Decision)]
) -> dict[str, Any]:
    """Accept, reject, or put back to pending."""
    with hub.database.writing() as session:
        user = _asker(session, wanted)
        gating.decide(session, caller, name, user, wanted.status, wanted.rejection_reason)
    return {}


@router.post(REQUESTS + "/grant")
def grant(
    hub: HubDep, caller: CallerDep, name: NameDep, wanted: Annotated[Invited, json_body(Invited)]
) -> dict[str, Any]:
    """Let somebody in who may not have asked."""
    with hub.database.writing() as session:
        gating.grant(session, caller, name, accounts.get(session, wanted.user, "user"))
    return {}


def _asker(session: Session, wanted: Decision) -> Account:
    if (wanted.user is None) == (wanted.request_id is None):
        raise BadRequest("name either a `user` or a `requestId`.")
    if wanted.user is not None:
        return accounts.get(session, wanted.user, "user")
    number = wanted.request_id or ""
    account = session.get(Account, int(number)) if number.isdecimal() and len(number) < 19 else None
    if account is None:
        raise NotFound(f"there is no request {number!r}.")
    return account


def _told(request: AccessRequest, account: Account) -> dict[str, Any]:
    return {
        "requestId": str(account.id),
        "user": {
            "user": account.name,
            "fullname": account.full_name or account.name,
            "email": account.email,
            "type": "user",
        },
        "status": request.status,
        "timestamp": moment(request.created_at),
        "fields": request.fields,
    }
