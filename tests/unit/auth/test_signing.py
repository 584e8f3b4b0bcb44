"""What is signed comes back as it was, for its purpose, until it expires; and nothing else does."""

from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_app import Clock
from lanza.auth.signing import Signer, load_key
from lanza.errors import Unauthorized, UsageError

KEY = bytes(range(32))
CLAIMS = {"repo": 7, "sha256": "ab" * 32}


def test_claims_come_back_as_they_were() -> None:
    signer = Signer(KEY)
    assert signer.verify("lfs", signer.sign("lfs", CLAIMS, seconds=60)) == CLAIMS


def test_a_url_can_hold_what_was_signed() -> None:
    token = Signer(KEY).sign("lfs", {"name": "año?&/=+"}, seconds=60)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_another_purpose_is_refused() -> None:
    signer = Signer(KEY)
    token = signer.sign("lfs", CLAIMS, seconds=60)
    for other in ("xet", "lf", "lfs ", ""):
        with pytest.raises(Unauthorized):
            signer.verify(other, token)


def test_another_server_s_is_refused() -> None:
    with pytest.raises(Unauthorized):
        Signer(KEY).verify("lfs", Signer(bytes(32)).sign("lfs", CLAIMS, seconds=60))


def test_it_is_good_until_the_last_second() -> None:
    clock = Clock()
    signer = Signer(KEY, clock=clock)
    token = signer.sign("lfs", CLAIMS, seconds=60)
    clock.now += 59
    assert signer.verify("lfs", token) == CLAIMS
    clock.now += 1
    with pytest.raises(Unauthorized, match="expired"):
        signer.verify("lfs", token)


def test_a_later_expiry_cannot_be_written_in() -> None:
    signer = Signer(KEY)
    payload, _, mac = signer.sign("lfs", CLAIMS, seconds=60).partition(".")
    said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    said["until"] += 10**6
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthorized):
        signer.verify("lfs", f"{forged}.{mac}")


@given(st.integers(0), st.characters(codec="ascii"))
def test_no_character_of_it_can_be_changed(place: int, letter: str) -> None:
    signer = Signer(KEY, clock=Clock())
    token = signer.sign("lfs", CLAIMS, seconds=60)
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed != token:
        with pytest.raises(Unauthorized):
            signer.verify("lfs", changed)


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        Signer(KEY).verify("lfs", text)


def test_text_without_end_is_not_looked_at() -> None:
    with pytest.raises(Unauthorized):
        Signer(KEY).verify("lfs", "A" * 10**6 + "." + "A" * 43)


def test_a_short_key_is_no_key() -> None:
    with pytest.raises(ValueError, match="32"):
        Signer(b"short")


def test_the_key_does_not_show() -> None:
    assert "\\x" not in repr(Signer(KEY))
    assert str(KEY) not in str(vars(Signer).get("__repr__")) + repr(Signer(KEY))


def test_a_key_is_made_once(tmp_path: Path) -> None:
    key = load_key(tmp_path / "secret.key")
    assert len(key) == 32
    assert load_key(tmp_path / "secret.key") == key
    assert load_key(tmp_path / "other.key") != key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.key", "secret.key"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are Unix's")
def test_the_key_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    load_key(tmp_path / "secret.key")
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


def test_a_damaged_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"half")
    with pytest.raises(UsageError, match="backup"):
        load_key(tmp_path / "secret.key")
    assert (tmp_path / "secret.key").read_bytes() == b"half"
