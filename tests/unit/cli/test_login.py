"""Logging in by a page of the server: OAuth's device flow, from the side of the program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lanza.cli import api
from lanza.cli.context import Context
from lanza.cli.login import _by_browser
from lanza.errors import BadRequest

HERE = Context(url="http://127.0.0.1:8420")
CODES = {
    "device_code": "kept",
    "user_code": "BCDF-GHJK",
    "verification_uri": "http://127.0.0.1:8420/oauth/activate",
    "interval": 5,
}


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
    """In place of the server: codes, then these answers."""
    coming: Iterator[Any] = iter([CODES, *answers])

    def call(*_: Any, form: dict[str, str]) -> Any:
        answer = next(coming)
        if isinstance(answer, Exception):
            assert form["device_code"] == "kept"
            raise answer
        return answer

    monkeypatch.setattr(api, "call", call)


def test_it_asks_until_the_user_has_decided(
    monkeypatch: pytest.MonkeyPatch, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    pending, slower = BadRequest("authorization_pending"), BadRequest("slow_down")
    answering(monkeypatch, pending, slower, pending, {"access_token": "lz_mine"})
    assert _by_browser(HERE) == "lz_mine"
    assert waited == [5, 5, 10, 10]
    said = capsys.readouterr().out
    assert CODES["verification_uri"] in said
    assert CODES["user_code"] in said
    assert "kept" not in said


def test_a_no_is_taken_for_an_answer(monkeypatch: pytest.MonkeyPatch, waited: list[float]) -> None:
    answering(monkeypatch, BadRequest("access_denied"))
    with pytest.raises(BadRequest, match="access_denied"):
        _by_browser(HERE)
