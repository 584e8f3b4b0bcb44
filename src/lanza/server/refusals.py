"""How an error becomes an answer: the headers and the body that its reader understands.

The model: whatever was raised is first an error of the tree (`as_error`), then an answer (`answer_to`). For
Hugging Face's clients the headers matter more than the body: `X-Error-Code` makes them raise their own class,
`X-Error-Message` is what they show. git-lfs, git and browsers want other forms of the same.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from lanza.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    Gated,
    LanzaError,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    RepoNotFound,
    RevisionNotFound,
    StorageFull,
    Unauthorized,
    Unavailable,
)
from lanza.hub.html import POLICY, error_page

CODES: Final[Mapping[type[LanzaError], str]] = {
    RepoNotFound: "RepoNotFound",
    RevisionNotFound: "RevisionNotFound",
    EntryNotFound: "EntryNotFound",
    Gated: "GatedRepo",
}
FULL: Final = "the server's disk is full: tell its operator, and send this again when there is room."
LONGEST_MESSAGE: Final = 1000

AWAY: Final = (OperationalError, InterfaceError, NoConnection)
"""What is raised when the database does not answer, or not in time."""

_ASKS_FOR_BASIC: Final = re.compile(r"^/login$|/(info/refs|git-upload-pack|git-receive-pack|info/lfs/.*)$")
_FOR_PROGRAMS: Final = ("/api/", "/cas/", "/oauth/", "/v2/")
_NOT_IN_HEADERS: Final = re.compile(r"[^ -~\xa0-\xff]+")
_FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT)


def as_error(raised: Exception) -> LanzaError | None:
    """`raised` as an error of the tree; None when it is none that a user could do something about."""
    found: LanzaError | None = None
    match raised:
        case LanzaError():
            found = raised
        case HTTPException():
            found = _of_starlette(raised)
        case RequestValidationError():
            found = BadRequest(_complaints(raised))
        case OSError(errno=number) if number in _FULL_DISK:
            found = StorageFull(FULL)
        case OperationalError() if "is full" in str(raised.orig):
            found = StorageFull(FULL)
        case _ if isinstance(raised, AWAY):
            found = Unavailable("the server's database is busy or away: try again in a moment.")
    return found


def _of_starlette(raised: HTTPException) -> LanzaError | None:
    match raised.status_code:
        case 404 if raised.detail == "Not Found":
            return NotFound("there is nothing at this address.")
        case 404:
            return NotFound(str(raised.detail))
        case 405:
            return MethodNotAllowed("this address does not take this method.")
        case status if status < 500:
            return BadRequest(str(raised.detail))
    return None


def _complaints(error: RequestValidationError) -> str:
    """Which part of the request is wrong, and how."""
    each = (f"{' '.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return "; ".join(each) or "this request is not what it should be."


def answer_to(error: LanzaError, scope: Scope) -> Response:
    """`error` as the answer to the request of `scope`, in the form that its sender reads."""
    path: str = scope["path"]
    asked = Headers(scope=scope)
    status = error.status if error.status >= 400 else 500
    headers = _headers(error, path, asked)
    if _is_for_a_person(scope, asked):
        headers["Content-Security-Policy"] = POLICY
        return Response(error_page(error), status, headers, media_type="text/html; charset=utf-8")
    message = error.message.encode(errors="replace").decode()  # a name may hold what is no Unicode
    body: dict[str, Any] = {"error": message}
    if isinstance(error, Conflict) and error.url is not None:
        body["url"] = error.url
    if "/info/lfs/" in path:
        lfs = orjson.dumps(body | {"message": message})
        return Response(lfs, status, headers, media_type="application/vnd.git-lfs+json")
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


def _is_for_a_person(scope: Scope, asked: Headers) -> bool:
    reads = scope["method"] in ("GET", "HEAD") and "text/html" in asked.get("accept", "")
    return reads and not scope["path"].startswith(_FOR_PROGRAMS)


def _headers(error: LanzaError, path: str, asked: Headers) -> dict[str, str]:
    headers = {"X-Error-Message": header_text(error.message)}
    if code := CODES.get(type(error)):
        headers["X-Error-Code"] = code
    if isinstance(error, EntryNotFound) and error.commit is not None:
        headers["X-Repo-Commit"] = error.commit
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, Unauthorized):
        # A browser that has sent a wrong password asks for another only when it is told so.
        basic = _ASKS_FOR_BASIC.search(path) or asked.get("authorization", "").lower().startswith("basic")
        headers["WWW-Authenticate"] = f'{"Basic" if basic else "Bearer"} realm="Lanza"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return headers


def header_text(text: str) -> str:
    """`text` as a header's value: one line of what Latin-1 has."""
    return _NOT_IN_HEADERS.sub(" ", text)[:LONGEST_MESSAGE].strip()
