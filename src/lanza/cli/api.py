"""Calls to the server's own routes (`/api/lanza/...`): JSON both ways, and errors of the tree.

Needs nothing but the standard library. A redirect is never followed: it would take the token along.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from lanza.cli.context import Context
from lanza.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    LanzaError,
    NotFound,
    Unauthorized,
    Unavailable,
)

SECONDS: Final = 30
_ERRORS: Final[Mapping[int, type[LanzaError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


def call(
    context: Context, method: str, path: str, body: Any = None, *, form: Mapping[str, str] | None = None
) -> Any:
    """The decoded answer; `body` goes as JSON, `form` as a form.

    Unavailable when the server cannot be reached, else the error that it names.
    """
    kind, content = "application/json", None if body is None else json.dumps(body).encode()
    if form is not None:
        kind, content = "application/x-www-form-urlencoded", urlencode(form).encode()
    request = _request(context, path, "application/json", method=method, content=content)
    if content is not None:
        request.add_header("Content-Type", kind)
    with _answered(context, request) as answer:
        return json.loads(answer.read() or b"null")


def stream(context: Context, path: str) -> Iterator[str]:
    """The lines of a text that may go on for long. Raises what `call` raises."""
    with _answered(context, _request(context, path, "text/plain"), seconds=None) as answer:
        for line in answer:
            yield line.decode(errors="replace").rstrip("\r\n")


def _request(
    context: Context, path: str, accept: str, *, method: str = "GET", content: bytes | None = None
) -> urllib.request.Request:
    request = urllib.request.Request(  # noqa: S310 -- `clean_url` lets nothing but http and https through
        context.url + path, method=method, data=content, headers={"Accept": accept}
    )
    if context.token:
        request.add_header("Authorization", f"Bearer {context.token}")
    return request


@contextmanager
def _answered(
    context: Context, request: urllib.request.Request, *, seconds: float | None = SECONDS
) -> Iterator[Any]:
    """The answer, while it is read; what goes wrong until its end is an error of the tree."""
    try:
        with _opener(context).open(request, timeout=seconds) as answer:
            if warning := answer.headers.get("X-HF-Warning"):
                print(f"lanza: {warning.rpartition('; ')[2]}", file=sys.stderr)
            yield answer
    except urllib.error.HTTPError as error:
        with error:
            raise _said(error, context) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"cannot talk to {context.url}: {reason}. Is `lanza up` running there?") from error


def _opener(context: Context) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_StayHere()]
    if context.is_local:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _said(error: urllib.error.HTTPError, context: Context) -> LanzaError:
    """What the server said, as the same error here."""
    try:
        message = str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError, OSError):
        message = f"{context.url} answered {error.code} {error.reason}: is it a Lanza?"
    if error.code >= 500:
        return Unavailable(message)
    return _ERRORS.get(error.code, BadRequest)(message)
