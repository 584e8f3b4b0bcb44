"""What the routes here are given: what the application holds, who calls, a body of bounded size.

The dependencies are async because they wait for nothing but the body: FastAPI runs others on threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from fastapi import Depends
from sqlalchemy.orm import Session
from starlette.requests import Request

from lanza.auth.audit import Trail
from lanza.auth.guard import Guard
from lanza.auth.principal import Principal
from lanza.auth.records import Account
from lanza.auth.signing import Signer
from lanza.auth.tokens import Authenticator
from lanza.database import Database
from lanza.errors import BadRequest, Forbidden, PayloadTooLarge, Unauthorized, UnsupportedMedia

MOST_BYTES: Final = 2**18
MOST_FIELDS: Final = 50
DEEPEST: Final = 64
FORM: Final = "application/x-www-form-urlencoded"

Leaving = Callable[[Session, Account], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the application holds for these routes.

    `leaving` is told of an account that is about to be removed, within the transaction, and gives what is
    left to do once it is: others keep things of an account that are not in the database.
    """

    database: Database
    authenticator: Authenticator
    guard: Guard
    signer: Signer
    leaving: Leaving


async def _parts(request: Request) -> Parts:
    state = request.app.state
    return Parts(
        database=state.database,
        authenticator=state.authenticator,
        guard=state.guard,
        signer=state.signer,
        leaving=state.leaving,
    )


async def _caller(request: Request) -> Principal:
    found: Principal = request.state.principal
    return found


async def _trail(request: Request) -> Trail:
    address = "" if request.client is None else request.client.host
    return Trail(
        caller=request.state.principal,
        request_id=getattr(request.state, "request_id", ""),
        address=address,
    )


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise UnsupportedMedia(f"this address takes a form: send {FORM}.")
    body = await _body(request)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise BadRequest("the form cannot be read: send its fields as UTF-8.") from error


PartsDep = Annotated[Parts, Depends(_parts)]
CallerDep = Annotated[Principal, Depends(_caller)]
TrailDep = Annotated[Trail, Depends(_trail)]
FormDep = Annotated[dict[str, str], Depends(_form)]


def json_body(kind: type[Any]) -> Any:
    """A dependency that reads the body as the msgspec type `kind`. BadRequest says which field is wrong.

    The reader tells its type as `body`, for the documentation."""
    decoder = msgspec.json.Decoder(kind)

    async def read(request: Request) -> Any:
        return decoded(decoder, await _body(request))

    read.body = kind  # type: ignore[attr-defined]
    return Depends(read)


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """What `body` says; nothing is an empty object. BadRequest, also for what is nested so deep that it could
    be kept and not be shown again."""
    try:
        found = decoder.decode(body or b"{}")
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not the JSON that this route takes: {error}.") from error
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return found
    raise _too_deep()


def _too_deep() -> BadRequest:
    return BadRequest(f"the body is nested too deep: {DEEPEST} levels are the most.")


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return [getattr(value, name) for name in getattr(value, "__struct_fields__", ())]


def require_rules(caller: Principal) -> None:
    """Unauthorized or Forbidden, unless the caller administers this server."""
    if caller.anonymous:
        raise Unauthorized("this needs an administrator's token: log in with `lanza login`.")
    if not caller.rules:
        raise Forbidden(
            f"the token {caller.token_name!r} of {caller.name} does not administer this server: use an "
            "administrator's, of role admin."
        )


def moment(date: datetime | None) -> str | None:
    """As clients parse dates: `2026-08-21T10:00:00.000Z`."""
    if date is None:
        return None
    return date.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def as_moment(name: str, text: str | None) -> datetime | None:
    """What a query calls a moment, in UTC, which is meant where it names no zone. BadRequest."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name} is a moment like 2026-11-30T12:00:00Z: not {text[:40]!r}.") from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise PayloadTooLarge(f"this body may have at most {MOST_BYTES:,} bytes.")
    return bytes(body)
