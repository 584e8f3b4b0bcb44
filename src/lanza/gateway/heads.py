"""Heads of requests and answers, from one side to the other: pure functions over lists of headers.

What belongs to a connection stays with it. What proves who calls never reaches a replica. What a replica says
about this server's address (cookies, policies, who may read) never reaches a browser.
"""

from __future__ import annotations

from typing import Final

Headers = list[tuple[bytes, bytes]]

_OF_A_CONNECTION: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NOT_TO_REPLICAS: Final = _OF_A_CONNECTION | {
    b"authorization",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"referer",
    b"sec-fetch-dest",
    b"sec-fetch-mode",
    b"sec-fetch-site",
    b"sec-fetch-user",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-request-id",
    b"x-scale-up-timeout",
}
_NOT_TO_CLIENTS: Final = _OF_A_CONNECTION | {
    b"alt-svc",
    b"clear-site-data",
    b"content-security-policy",
    b"content-security-policy-report-only",
    b"date",
    b"server",
    b"service-worker-allowed",
    b"set-cookie",
    b"strict-transport-security",
    b"www-authenticate",
    b"x-content-type-options",
    b"x-request-id",
}

ALWAYS: Final[Headers] = [
    (b"content-security-policy", b"sandbox"),
    (b"x-content-type-options", b"nosniff"),
]
"""Headers of every answer: what an endpoint sends runs in no page of this server."""

PAGE: Final[Headers] = [
    (
        b"content-security-policy",
        b"sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
        b"style-src 'unsafe-inline'; connect-src 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
]
"""Headers of an endpoint's `/docs` instead: its scripts run, with an origin of their own that is nobody's. To
this server they are as a page of any other site, without cookies, and they reach no other."""


def request_head(
    method: str, target: bytes, headers: Headers, *, host: bytes, more: Headers, length: int | None
) -> bytes:
    """The head of the request that a replica gets. `length` of the body; None: in chunks."""
    lines = [method.encode(), b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    named = _connection_options(headers)
    for name, value in headers:
        if name not in _NOT_TO_REPLICAS and name not in named:
            lines += (name, b": ", value, b"\r\n")
    for name, value in more:
        lines += (name, b": ", value, b"\r\n")
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length or method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"\r\n")
    return b"".join(lines)


def answer_headers(headers: Headers) -> Headers:
    """A replica's headers as clients get them."""
    return [
        pair
        for pair in headers
        if pair[0] not in _NOT_TO_CLIENTS and not pair[0].startswith(b"access-control-")
    ]


def _connection_options(headers: Headers) -> frozenset[bytes]:
    """Names that `Connection` lists: those belong to the connection too."""
    for name, value in headers:
        if name == b"connection" and value not in (b"keep-alive", b"close", b"Keep-Alive"):
            return frozenset(option.strip().lower() for option in value.split(b","))
    return frozenset()
