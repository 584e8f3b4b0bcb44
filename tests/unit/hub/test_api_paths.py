from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asking import ask
from lanza.errors import BadRequest
from lanza.hub.api.paths import SLASH, cursor_of, next_page, plain
from lanza.server.edge import decoded


def seen(request: Request) -> JSONResponse:
    return JSONResponse({name: str(value) for name, value in request.path_params.items()})


APP = Starlette(
    routes=[
        Route("/api/{plural:kind}/{repo:repo}/tree/{rev:rev}/{path:file}", seen),
        Route("/api/{plural:kind}/{repo:repo}/tree/{rev:rev}", seen),
        Route("/{plural:prefix}{repo:repo}/resolve/{rev:rev}/{path:file}", seen),
    ]
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await APP({**scope, "path": decoded(scope["raw_path"])}, receive, send)


@pytest.mark.parametrize(
    ("url", "params"),
    [
        ("/api/models/ana/qa/tree/main", ("model", "ana/qa", "main", None)),
        ("/api/datasets/ana/qa/tree/main/a/b", ("dataset", "ana/qa", "main", "a/b")),
        ("/api/models/gpt2/tree/refs%2Fpr%2F1/a%2Fb", ("model", "gpt2", "refs/pr/1", "a/b")),
        ("/api/models/ana/tree/tree/main/tree/x", ("model", "ana/tree", "main", "tree/x")),
        ("/ana/qa/resolve/main/resolve/x.bin", ("model", "ana/qa", "main", "resolve/x.bin")),
        ("/gpt2/resolve/main/x.bin", ("model", "gpt2", "main", "x.bin")),
        ("/datasets/squad/resolve/main/x.bin", ("dataset", "squad", "main", "x.bin")),
        ("/spaces/ana/qa/resolve/v%2F1/%C3%B1%20x.bin", ("space", "ana/qa", "v/1", "ñ x.bin")),
    ],
)
def test_urls_name_what_clients_mean(url: str, params: tuple[str | None, ...]) -> None:
    names = ("plural", "repo", "rev", "path")
    assert ask(app, url).json == {n: v for n, v in zip(names, params, strict=True) if v is not None}


@pytest.mark.parametrize("url", ["/api/kernels/a/b/tree/main", "/a/b/c/resolve/main/x", "/a/resolve/main"])
def test_other_urls_name_nothing(url: str) -> None:
    assert ask(app, url).status == 404


def test_a_quoted_slash_becomes_a_plain_one() -> None:
    assert plain(f"refs{SLASH}pr{SLASH}1") == "refs/pr/1"


def test_the_next_page_is_at_the_same_url_with_a_cursor() -> None:
    scope = {
        "type": "http",
        "scheme": "http",
        "path": "/api/models/a/b/tree/v\x1f1",
        "raw_path": b"/api/models/a/b/tree/v%2F1",
        "query_string": b"recursive=true&tag=a&tag=b&cursor=old",
        "headers": [(b"host", b"hub.test:8420")],
    }
    link = next_page(Request(scope), ["commit", 100])["Link"]
    url, _, cursor = link.removeprefix("<").partition(">")[0].partition("&cursor=")
    assert url == "http://hub.test:8420/api/models/a/b/tree/v%2F1?recursive=true&tag=a&tag=b"
    assert link.endswith('>; rel="next"')
    assert cursor_of(cursor, list[Any]) == ["commit", 100]
    assert cursor_of(None, list[Any]) is None


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "bnVsbA", "ñ", "a" * 5000])
def test_a_cursor_that_is_none_of_ours_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequest, match="cursor"):
        cursor_of(cursor, list[Any])
