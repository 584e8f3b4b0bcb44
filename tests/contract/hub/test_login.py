"""A bare `hf auth login` against the real server, with a user who allows it in a browser, or denies it."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from hubs import User

HF = Path(sys.executable).with_name("hf")
PASSWORD = "una contraseña larga"

pytestmark = pytest.mark.skipif(not HF.exists(), reason="the hf command is not installed")


@contextmanager
def login(user: User) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`hf auth login` while it waits, and the address that it shows."""
    process = subprocess.Popen(
        [HF, "auth", "login"],
        env=user.environment(HF_TOKEN="", PYTHONUNBUFFERED="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := re.search(r"http://\S+code=[A-Z-]+", said):
                yield process, found[0]
                break
        else:
            raise AssertionError(said)
    finally:
        process.kill()
        process.communicate()


def decide(address: str, decision: str, **fields: str) -> str:
    """Open the page, fill it in and send it, as a browser does."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(address, timeout=30).read().decode()
    shown = dict(re.findall(r'name="(proof|code)" value="([^"]*)"', page))
    form = {**{name: unescape(value) for name, value in shown.items()}, "decision": decision, **fields}
    target, _, _ = address.partition("?")
    answer = browser.open(target, urllib.parse.urlencode(form).encode(), timeout=30)
    text: str = answer.read().decode()
    return text


def test_a_user_allows_it(ana: User) -> None:
    with login(ana) as (process, address):
        assert "Logged in" in decide(address, "allow", name=ana.name, password=PASSWORD)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Login successful" in said
    assert ana.name in ana.run(str(HF), "auth", "whoami", HF_TOKEN="").stdout


def test_a_user_denies_it(ana: User) -> None:
    with login(ana) as (process, address):
        assert "Denied" in decide(address, "deny")
        said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "denied" in said
