"""What the server says, or does not, as errors of the tree."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from email.message import Message

import pytest

from lanza.cli import api
from lanza.cli.context import Context
from lanza.cli.duration import duration
from lanza.cli.tokens import _grant
from lanza.errors import Conflict, Forbidden, NotFound, Unauthorized, Unavailable, UsageError

HERE = Context(url="http://127.0.0.1:9", token="lz_mine")


class Answering:
    """In place of urllib's opener: fails as a server would."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def open(self, request: urllib.request.Request, timeout: float) -> None:
        raise self.failure


def answer(status: int, body: bytes) -> urllib.error.HTTPError:
    return urllib.error.HTTPError(HERE.url, status, "No", Message(), io.BytesIO(body))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict), (500, Unavailable)],
)
def test_a_refusal_is_the_server_s_own_words(
    status: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_opener", lambda _: Answering(answer(status, b'{"error": "so it is"}')))
    with pytest.raises(kind, match=r"^so it is$"):
        api.call(HERE, "GET", "/api/lanza/tokens")


def test_another_kind_of_server_is_asked_whether_it_is_a_lanza(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_opener", lambda _: Answering(answer(404, b"<html>nginx</html>")))
    with pytest.raises(NotFound, match="is it a Lanza"):
        api.call(HERE, "GET", "/api/lanza/tokens")


def test_nobody_there_is_said_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
    monkeypatch.setattr(api, "_opener", lambda _: Answering(failure))
    with pytest.raises(Unavailable, match=r"cannot talk to http://127\.0\.0\.1:9.*lanza up"):
        api.call(HERE, "GET", "/api/lanza/tokens")


def test_a_redirect_does_not_take_the_token_along() -> None:
    request = urllib.request.Request(HERE.url)
    handler = api._StayHere()
    assert handler.redirect_request(request, None, 302, "Found", Message(), "http://evil") is None


def test_grants_and_durations_are_read_from_the_command_line() -> None:
    assert _grant("ana/becas=repo.write,repo.content.read") == {
        "entity": "ana/becas",
        "scopes": ["repo.write", "repo.content.read"],
    }
    assert duration("12h", "--expires").total_seconds() == 12 * 3600
    assert duration("8w", "--expires").days == 56
    for wrong in ("", "30", "0d", "d", "1y", "99999d"):
        with pytest.raises(UsageError, match="--expires"):
            duration(wrong, "--expires")
    with pytest.raises(UsageError, match="--grant"):
        _grant("ana/becas")
