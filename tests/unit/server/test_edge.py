"""The edge: what a request is before a route sees it, and what every answer carries."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse

from asking import Answer, ask
from lanza.auth.principal import ANONYMOUS, Principal, Role
from lanza.errors import (
    Conflict,
    EntryNotFound,
    Gated,
    LanzaError,
    Overloaded,
    RangeNotSatisfiable,
    RepoNotFound,
    RevisionNotFound,
    Unauthorized,
)
from lanza.hub.api.paths import SLASH
from lanza.server.edge import Edge
from lanza.server.settings import networks

ANA = Principal(account_id=1, name="ana", role=Role.WRITE)


def authenticate(given: str | None) -> Principal:
    if given is None:
        return ANONYMOUS
    if given.endswith("good"):
        return ANA
    raise Unauthorized("Invalid credentials in Authorization header")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """What a route would see."""
    request = Request(scope)
    seen = {
        "path": scope["path"],
        "url": str(request.url),
        "client": request.client.host if request.client else None,
        "who": request.state.principal.name,
        "id": request.state.request_id,
    }
    await JSONResponse(seen)(scope, receive, send)


def raising(error: BaseException) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


def through(app: Any, path: str = "/x", proxies: list[str] | None = None, **more: Any) -> Answer:
    return ask(Edge(app, authenticate=authenticate, proxies=networks(proxies or [])), path, **more)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/api/models/ana/becas", "/api/models/ana/becas"),
        ("/tree/refs%2Fpr%2f1/a%20b", f"/tree/refs{SLASH}pr{SLASH}1/a b"),
        ("/a%C3%B1o/%E6%97%A5", "/año/日"),
        ("/100%25", "/100%"),
        ("/a%252Fb", "/a%2Fb"),
        ("/a+b", "/a+b"),
    ],
)
def test_a_quoted_slash_stays_apart_from_a_real_one(asked: str, seen: str) -> None:
    assert through(echo, asked).json["path"] == seen


@pytest.mark.parametrize("path", ["/a%00b", "/a%1Fb", "/a%0d%0ab", "/a%7f", "/a%FF", "/%C3"])
def test_an_address_that_is_no_text_is_refused(path: str) -> None:
    answer = through(echo, path)
    assert answer.status == 400
    assert "address" in answer.json["error"]


def test_who_calls_is_known_to_the_route() -> None:
    assert through(echo).json["who"] == ""
    assert through(echo, headers={"Authorization": "Bearer good"}).json["who"] == "ana"


def test_a_wrong_token_is_refused_in_the_words_that_clients_look_for() -> None:
    answer = through(echo, headers={"Authorization": "Bearer bad"})
    assert answer.status == 401
    assert answer.headers["x-error-message"] == "Invalid credentials in Authorization header"
    assert answer.headers["www-authenticate"] == 'Bearer realm="Lanza"'


@pytest.mark.parametrize(
    "path", ["/ana/becas/info/refs?service=git-upload-pack", "/ana/b.git/info/lfs/objects/batch", "/login"]
)
def test_git_and_browsers_are_asked_for_a_password(path: str) -> None:
    answer = through(raising(Unauthorized("who?")), path)
    assert answer.headers["www-authenticate"] == 'Basic realm="Lanza"'


def test_a_wrong_password_is_asked_for_again() -> None:
    answer = through(echo, headers={"Authorization": "Basic bad"})
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", ["/healthz", "/cas/1/v1/shards", "/assets/lanza.css"])
def test_where_tokens_are_of_another_kind_they_are_not_looked_at(path: str) -> None:
    assert through(echo, path, headers={"Authorization": "Bearer bad"}).status == 200


def test_a_namespace_that_begins_like_such_an_address_is_none() -> None:
    assert through(echo, "/castle/x", headers={"Authorization": "Bearer bad"}).status == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_changes_nothing_with_a_password_that_the_browser_adds(site: str) -> None:
    headers = {"Authorization": "Basic good", "Sec-Fetch-Site": site}
    assert through(echo, method="POST", headers=headers).status == 403
    assert through(echo, method="GET", headers=headers).status == 200
    assert through(echo, method="POST", headers=headers | {"Sec-Fetch-Site": "same-origin"}).status == 200
    assert through(echo, method="POST", headers={"Authorization": "Basic good"}).status == 200


def test_every_answer_has_an_id_and_the_headers_that_protect_browsers() -> None:
    answer = through(echo)
    assert answer.headers["x-request-id"] == answer.json["id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert through(echo, headers={"X-Request-Id": "mine-1"}).json["id"] == "mine-1"
    assert through(echo, headers={"X-Request-Id": "not mine\xe9"}).json["id"] != "not mine\xe9"


def test_what_a_route_says_itself_is_kept() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("x", headers={"Content-Security-Policy": "sandbox"})(scope, receive, send)

    assert through(app).headers.getlist("content-security-policy") == ["sandbox"]


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (RepoNotFound("no"), 404, {"x-error-code": "RepoNotFound"}),
        (RevisionNotFound("no"), 404, {"x-error-code": "RevisionNotFound"}),
        (
            EntryNotFound("no", commit="c" * 40),
            404,
            {"x-error-code": "EntryNotFound", "x-repo-commit": "c" * 40},
        ),
        (Gated("no"), 403, {"x-error-code": "GatedRepo"}),
        (RangeNotSatisfiable("no", size=7), 416, {"content-range": "bytes */7"}),
        (Overloaded("no", retry_after=1.2), 429, {"retry-after": "2"}),
    ],
)
def test_errors_are_told_in_the_headers_that_clients_read(
    error: LanzaError, status: int, headers: dict[str, str]
) -> None:
    answer = through(raising(error), "/api/models/x")
    assert answer.status == status
    assert answer.json == {"error": "no"}
    assert answer.headers["x-error-message"] == "no"
    assert headers.items() <= dict(answer.headers).items()


def test_a_conflict_names_what_is_there() -> None:
    answer = through(raising(Conflict("there is one", url="http://h/a/b")), "/api/repos/create")
    assert answer.json == {"error": "there is one", "url": "http://h/a/b"}


def test_a_message_with_any_text_is_one_line_of_a_header() -> None:
    answer = through(raising(RepoNotFound("no\r\nSet-Cookie: x\u2028año 日本 \ud800" + "x" * 5000)))
    said = answer.headers["x-error-message"]
    assert said.startswith("no Set-Cookie: x año")
    assert len(said) <= 1000
    assert "set-cookie" not in answer.headers


def test_git_lfs_gets_its_own_form() -> None:
    answer = through(raising(RepoNotFound("no")), "/ana/b.git/info/lfs/locks")
    assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    assert answer.json["message"] == "no"


def test_people_get_a_page_and_programs_do_not() -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = through(raising(RepoNotFound("no <b>such</b>")), "/ana/becas", headers=browser)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "no &lt;b&gt;such&lt;/b&gt;" in answer.text
    assert answer.headers["x-error-code"] == "RepoNotFound"
    assert through(raising(RepoNotFound("no")), "/api/models/x", headers=browser).json == {"error": "no"}
    assert through(raising(RepoNotFound("no")), headers={"Accept": "*/*"}).json == {"error": "no"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_mystery(number: int, caplog: pytest.LogCaptureFixture) -> None:
    answer = through(raising(OSError(number, "No space left on device")))
    assert answer.status == 507
    assert "disk is full" in answer.json["error"]
    assert "507" in caplog.text  # its operator reads it too
    assert "disk is full" in caplog.text


def test_what_nobody_foresaw_is_logged_and_told_by_its_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = through(raising(ZeroDivisionError("a secret")))
    assert answer.status == 500
    assert answer.headers["x-request-id"] in answer.json["error"]
    assert "a secret" not in answer.text
    assert "ZeroDivisionError" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


def test_a_failure_in_the_middle_of_an_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        assert through(app).status == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_client_that_leaves_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(IndexError):  # no answer was begun
        through(raising(ClientDisconnect()))
    assert not caplog.records


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9, 10.0.0.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "hub.example.org",
}


def test_forwarded_headers_are_believed_from_the_proxy_only() -> None:
    seen = through(echo, proxies=["10.0.0.0/8"], client="10.1.2.3", headers=FORWARDED).json
    assert (seen["client"], seen["url"]) == ("203.0.113.9", "https://hub.example.org/x")
    for proxies in ([], ["192.168.0.0/16"]):
        seen = through(echo, proxies=proxies, client="10.1.2.3", headers=FORWARDED).json
        assert (seen["client"], seen["url"]) == ("10.1.2.3", "http://hub.test:8420/x")


def test_a_client_cannot_pretend_to_be_another_through_the_proxy() -> None:
    said = FORWARDED | {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}
    seen = through(echo, proxies=["10.0.0.0/8"], client="10.1.2.3", headers=said).json
    assert seen["client"] == "203.0.113.9"


@pytest.mark.parametrize("host", ["evil.example/path", "a b", "x\r\ny", ""])
def test_a_forwarded_host_that_is_none_is_not_taken(host: str) -> None:
    said = FORWARDED | {"X-Forwarded-Host": host}
    seen = through(echo, proxies=["10.0.0.0/8"], client="10.1.2.3", headers=said).json
    assert seen["url"] == "https://hub.test:8420/x"
