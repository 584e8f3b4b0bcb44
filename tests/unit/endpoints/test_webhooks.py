from __future__ import annotations

from ipaddress import ip_network

import pytest

from lanza.endpoints.outside import _check_address, _Internal
from lanza.endpoints.webhooks import secret_of, signature

KEY = b"k" * 32


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_that_only_this_machine_reaches_are_refused(address: str) -> None:
    with pytest.raises(_Internal, match="--webhooks-to"):
        _check_address(address, ())


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:93.184.215.14"])
def test_public_addresses_are_not(address: str) -> None:
    _check_address(address, ())


def test_a_network_that_the_server_is_told_of_is_not() -> None:
    _check_address("10.1.2.3", [ip_network("10.0.0.0/8")])
    with pytest.raises(_Internal):
        _check_address("127.0.0.1", [ip_network("10.0.0.0/8")])


def test_each_endpoint_has_a_secret_of_its_own() -> None:
    assert secret_of(KEY, "ana/becas") == secret_of(KEY, "Ana/Becas") != secret_of(KEY, "ana/other")
    assert secret_of(b"x" * 32, "ana/becas") != secret_of(KEY, "ana/becas")


def test_a_signature_is_that_of_time_and_body() -> None:
    """As `printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_x` says."""
    said = signature("whsec_x", "1700000000", b"{}")
    assert said.startswith("sha256=")
    assert said != signature("whsec_x", "1700000001", b"{}")
    assert said != signature("whsec_y", "1700000000", b"{}")
