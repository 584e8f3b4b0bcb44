"""The edge: what every request goes through before a route, and every answer after it.

The model: one pure ASGI wrapper. Inwards it takes the client's address and name from a trusted proxy, decodes
the path so that a quoted slash stays apart from a real one, gives the request an id and finds out who calls.
Outwards it adds the headers that every answer carries, and turns what was raised into an answer. It is one of
the three supervisors, so it catches everything; what it cannot name is logged by the request's id.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanza.auth.principal import ANONYMOUS, Principal
from lanza.errors import BadRequest, EngineFailed, Forbidden
from lanza.gateway.settings import Network
from lanza.hub.api.paths import SLASH
from lanza.server.refusals import answer_to, as_error

log = logging.getLogger("lanza.server")

ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer that does not say something else itself."""

OPEN: Final = frozenset({"healthz", "readyz", "assets", "cas"})
"""First parts of paths where nobody is asked who they are, or a signed token of another kind says so."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:=-]{1,128}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_QUOTED_SLASH: Final = re.compile("%2[fF]")

Authenticate = Callable[[str | None], Principal]


class Edge:
    """Wraps `app`. `authenticate` may ask a database, so it runs on a thread."""

    def __init__(self, app: ASGIApp, *, authenticate: Authenticate, proxies: Sequence[Network] = ()) -> None:
        self.app = app
        self.authenticate = authenticate
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        believe_proxy(scope, headers, self.proxies)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        try:
            scope["path"] = decoded(scope.get("raw_path") or scope["path"].encode())
            scope["state"]["principal"] = await self._who(scope, headers)
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            log.info("request %s: the client went away", request_id)
        except Exception as raised:  # noqa: BLE001 -- the edge is a supervisor
            await self._refuse(raised, scope, receive, answer)

    async def _who(self, scope: Scope, headers: Headers) -> Principal:
        given = headers.get("authorization")
        if given is None or scope["path"].lstrip("/").partition("/")[0] in OPEN:
            return ANONYMOUS
        if scope["method"] not in ("GET", "HEAD") and _sent_by_another_site(given, headers):
            raise Forbidden("a page of another site may change nothing here with your password.")
        return await run_in_threadpool(self.authenticate, given)

    async def _refuse(self, raised: Exception, scope: Scope, receive: Receive, answer: _Answer) -> None:
        error = as_error(raised)
        if error is None or answer.begun:
            log.error("request %s failed: %s", answer.request_id, scope["method"], exc_info=raised)
            error = EngineFailed(f"something failed here; the server's log has it by {answer.request_id}.")
        if not answer.begun:
            await answer_to(error, scope)(scope, receive, answer.send)


class _Answer:
    """An answer on its way: whether it has begun, and with the headers that all have."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in ALWAYS.items():
                headers.setdefault(name, value)
            if message["status"] >= 500:
                said = headers.get("x-error-message", "")
                log.warning("request %s: %s %s", self.request_id, message["status"], said)
        await self._send(message)


def _sent_by_another_site(authorization: str, headers: Headers) -> bool:
    """Whether a browser has added the password by itself, to a request that another site made it send."""
    site = headers.get("sec-fetch-site", "same-origin")
    return authorization.lower().startswith("basic") and site not in ("same-origin", "none")


def decoded(raw: bytes) -> str:
    """A URL's path as routes match it: decoded, with `SLASH` where a slash was quoted. BadRequest."""
    try:
        parts = [unquote(part, errors="strict") for part in _QUOTED_SLASH.split(raw.decode("ascii"))]
    except UnicodeDecodeError:
        raise BadRequest("this address is no UTF-8: quote the bytes of its characters in UTF-8.") from None
    if any(_CONTROL.search(part) for part in parts):
        raise BadRequest("an address cannot hold control characters.")
    return SLASH.join(parts)


def believe_proxy(scope: Scope, headers: Headers, proxies: Sequence[Network]) -> None:
    """Take client, scheme and host from X-Forwarded headers, if the peer is a proxy of ours."""
    peer = scope.get("client")
    if not proxies or not peer or not _within(peer[0], proxies):
        return
    forwarded = [one.strip() for one in ",".join(headers.getlist("x-forwarded-for")).split(",")]
    # From the right: what stands left of the first address that is no proxy of ours was said by the client.
    client = next((one for one in reversed(forwarded) if one and not _within(one, proxies)), None)
    if client is not None and _address(client):
        scope["client"] = (client, 0)
    scheme = headers.get("x-forwarded-proto", "")
    if scheme in ("http", "https"):
        scope["scheme"] = scheme
    host = headers.get("x-forwarded-host", "")
    if _HOST.fullmatch(host):
        others = [pair for pair in scope["headers"] if pair[0] != b"host"]
        scope["headers"] = [*others, (b"host", host.encode())]


def _address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _within(text: str, proxies: Sequence[Network]) -> bool:
    return _address(text) and any(ip_address(text) in network for network in proxies)
