"""What `lanza up` can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanza.errors import UsageError
from lanza.server.settings import ServerSettings, is_loopback, kinds, networks


def settings(tmp_path: Path, **more: Any) -> ServerSettings:
    return ServerSettings(data=tmp_path, **more)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("hub.example.org", False),
    ],
)
def test_only_loopback_is_out_of_others_reach(host: str, loopback: bool, tmp_path: Path) -> None:
    assert is_loopback(host) is loopback
    assert settings(tmp_path, host=host).exposed is not loopback


def test_tls_or_a_proxy_makes_an_open_address_safe(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    tls = {"tls_cert": tmp_path / "cert", "tls_key": tmp_path / "key"}
    assert not settings(tmp_path, host="0.0.0.0", **tls).exposed
    assert settings(tmp_path, **tls).scheme == "https"
    assert not settings(tmp_path, host="0.0.0.0", proxies=networks(["10.0.0.0/8"])).exposed


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs both"):
        settings(tmp_path, tls_cert=tmp_path)
    with pytest.raises(UsageError, match="there is no file"):
        settings(tmp_path, tls_cert=tmp_path / "no", tls_key=tmp_path / "no")


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--behind-proxy"):
        networks(["10.0.0.0/40"])


def test_an_upstream_without_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--upstream"):
        settings(tmp_path, upstream="huggingface.co")


def test_what_to_refuse_is_known() -> None:
    assert kinds(None) == frozenset()
    assert kinds("pickle, secret") == {"pickle", "secret"}
    with pytest.raises(UsageError, match=r"--refuse: .*pickle, safetensors, secret: not virus"):
        kinds("pickle,virus")
