"""Which server a command talks to, and that a token goes only to the server that it is for."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from lanza.cli.context import Context, Logins, clean_url, context
from lanza.errors import UsageError

LOCAL = "http://127.0.0.1:8420"


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, str]:
    return {"LANZA_HOME": str(tmp_path)}


def stored(tmp_path: Path, url: str, token: str) -> None:
    Logins(tmp_path / "logins.json").add(url, token)


def test_the_option_wins_then_lanza_url_then_hf_endpoint_then_the_login(
    tmp_path: Path, outside: dict[str, str]
) -> None:
    stored(tmp_path, "http://stored:1", "t")
    assert context(None, outside).url == "http://stored:1"
    outside["HF_ENDPOINT"] = "http://hf:2/"
    assert context(None, outside).url == "http://hf:2"
    outside["LANZA_URL"] = "http://lanza:3"
    assert context(None, outside).url == "http://lanza:3"
    assert context("http://option:4", outside).url == "http://option:4"


def test_without_any_server_the_command_says_how_to_name_one(outside: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="lanza login URL"):
        context(None, outside)


def test_a_token_of_the_public_hub_is_not_sent_to_another_server(
    tmp_path: Path, outside: dict[str, str]
) -> None:
    outside["HF_TOKEN"] = "hf_secret"
    assert context(LOCAL, outside).token is None
    stored(tmp_path, LOCAL, "lz_mine")
    assert context(None, outside).token == "lz_mine"
    assert context("http://elsewhere", outside).token is None


def test_the_token_in_the_environment_is_for_the_address_in_the_environment(outside: dict[str, str]) -> None:
    outside |= {"HF_ENDPOINT": f"{LOCAL}/", "HF_TOKEN": "lz_env"}
    assert context(None, outside).token == "lz_env"
    assert context("HTTP://127.0.0.1:8420", outside).token == "lz_env"
    assert context("http://elsewhere", outside).token is None


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8420", "ftp://host", "http://", "http://host:99999", "http://host/?q=1", "file:///x"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="address"):
        clean_url(url)


def test_a_secret_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        clean_url("http://ana:lz_secret@host")
    assert "lz_secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        (LOCAL, True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("https://hub", False),
    ],
)
def test_only_this_machine_is_local(url: str, local: bool) -> None:
    assert Context(url=url).is_local is local


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_stored_tokens_are_for_their_owner_s_eyes(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        stored(tmp_path, LOCAL, "lz_mine")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "logins.json").stat().st_mode) == 0o600


def test_logging_out_falls_back_to_another_login(tmp_path: Path) -> None:
    kept = Logins(tmp_path / "logins.json")
    kept.add("http://a", "1")
    kept.add("http://b", "2")
    assert kept.remove("http://b")
    assert Logins(kept.path).current == "http://a"
    assert Logins(kept.path).token("http://b") is None
    assert not kept.remove("http://b")
    assert kept.remove("http://a")
    assert Logins(kept.path).current is None


def test_a_damaged_file_of_logins_is_said_to_be_one(tmp_path: Path, outside: dict[str, str]) -> None:
    (tmp_path / "logins.json").write_text("{")
    with pytest.raises(UsageError, match=r"logins\.json is damaged"):
        context(LOCAL, outside)
