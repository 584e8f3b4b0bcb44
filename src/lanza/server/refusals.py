"""How an error becomes an answer: the headers and the body that Hugging Face's clients read.

The model: whatever was raised is first an error of the tree (`as_error`), then an answer (`answer_to`). Headers
matter more than the body: `X-Error-Code` makes the client raise its own class, `X-Error-Message` is what it
shows. git and git-lfs want their own forms of the same.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

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

CODES: Final[Mapping[type[LanzaError], str]] = {
    RepoNotFound: "RepoNotFound",
    RevisionNotFound: "RevisionNotFound",
    EntryNotFound: "EntryNotFound",
    Gated: "GatedRepo",
}
LONGEST_MESSAGE: Final = 1000

_GIT: Final = re.compile(r"/(?:info/refs|git-upload-pack|git-receive-pack|info/lfs/.*)$")
_LFS: Final = re.compile(r"/info/lfs/")
_NOT_IN_HEADERS: Final = re.compile(r"[^ -~\xa0-\xff]+")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def as_error(raised: Exception) -> LanzaError | None:
    """`raised` as an error of the tree; None when it is none that a user could do something about."""
    match raised:
        case LanzaError():
            return raised
        case HTTPException(status_code=404, detail="Not Found"):
            return NotFound("there is nothing at this address.")
        case HTTPException(status_code=405):
            return MethodNotAllowed("this address does not take this method.")
        case HTTPException(status_code=404):
            return NotFound(str(raised.detail))
        case HTTPException(status_code=status) if status < 500:
            return BadRequest(str(raised.detail))
        case RequestValidationError():
            return BadRequest("; ".join(_complaints(raised)) or "this request is not what it should be.")
        case OSError() if raised.errno in _FULL:
            return StorageFull("the server's disk is full, and nothing of this was kept: tell its operator.")
        case OperationalError() if "full" in str(raised.orig):
            return StorageFull("the server's disk is full, and nothing of this was kept: tell its operator.")
        case OperationalError():
            return Unavailable("the server's database is busy or away: try again in a moment.")
    return None


def _complaints(error: RequestValidationError) -> list[str]:
    places = (([str(part) for part in one["loc"]], str(one["msg"])) for one in error.errors())
    return [f"{' '.join(place)}: {message}" for place, message in places]


def answer_to(error: LanzaError, path: str) -> Response:
    """`error` as the answer to a request for `path`."""
    message = error.message.encode(errors="replace").decode()  # a name may hold what is no Unicode
    body: dict[str, Any] = {"error": message}
    if isinstance(error, Conflict) and error.url is not None:
        body["url"] = error.url
    kind = "application/json"
    if _LFS.search(path):
        body["message"] = message
        kind = "application/vnd.git-lfs+json"
    status = error.status if error.status >= 400 else 500
    return Response(orjson.dumps(body), status, dict(_headers(error, path)), media_type=kind)


def _headers(error: LanzaError, path: str) -> Mapping[str, str]:
    headers = {"X-Error-Message": header_text(error.message)}
    if code := CODES.get(type(error)):
        headers["X-Error-Code"] = code
    if isinstance(error, EntryNotFound) and error.commit is not None:
        headers["X-Repo-Commit"] = error.commit
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = f'{"Basic" if _GIT.search(path) else "Bearer"} realm="Lanza"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return headers


def header_text(text: str) -> str:
    """`text` as a header's value: one line of what Latin-1 has."""
    return _NOT_IN_HEADERS.sub(" ", text)[:LONGEST_MESSAGE].strip()
