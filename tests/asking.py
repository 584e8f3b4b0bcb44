"""Ask an ASGI application as a server would, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back. `headers` do not mind case."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    client: str = "127.0.0.1",
) -> Answer:
    """One request. `path` is as it stands in the URL, with its query."""
    return asyncio.run(_ask(app, path, method, headers or {}, body, client))


async def _ask(
    app: Any, path: str, method: str, headers: Mapping[str, str], body: bytes, client: str
) -> Answer:
    raw_path, _, query = path.partition("?")
    given = {"host": "hub.test:8420", **{name.lower(): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": (client, 1),
        "server": ("hub.test", 8420),
        "state": {},
    }
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Answer(
        status=start["status"],
        headers=Headers(raw=list(start["headers"])),
        body=b"".join(message.get("body", b"") for message in sent[1:]),
    )
