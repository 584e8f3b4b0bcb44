"""A bare `hf auth login`: OAuth's device flow, with a person at a terminal and in a browser."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import requests

from hubs import Hub, User
from terminal import Terminal

HF = str(Path(sys.executable).with_name("hf"))
PASSWORD = "una contraseña larga"


class Form(HTMLParser):
    """The fields of a page's form, filled in as the server did, and where it goes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            assert found["method"] == "post"
            self.action = found["action"] or ""
        elif tag == "input":
            self.fields[found["name"] or ""] = found.get("value") or ""


class Browser:
    """Keeps cookies, and fills in forms by their fields' names."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.page = requests.Response()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def open(self, url: str) -> Browser:
        self.page = self.session.get(url, timeout=30)
        assert self.page.status_code == 200, self.page.text
        return self

    def send(self, **typed: str) -> requests.Response:
        """Fill in the page's form and press the button `decision`."""
        form = Form(self.page.text)
        unknown = typed.keys() - form.fields.keys() - {"decision"}
        assert not unknown, f"the form has no {unknown}"
        to = urljoin(self.page.url, form.action)
        self.page = self.session.post(to, data={**form.fields, **typed}, timeout=30)
        return self.page


def log_in(user: User) -> Terminal:
    """`hf auth login` in a terminal of somebody without a token."""
    return Terminal(HF, "auth", "login", cwd=user.home, env=user.environment(HF_TOKEN=""))


def address(terminal: Terminal) -> tuple[str, str]:
    """Choose the browser; gives the address to open and the code, as they are shown."""
    terminal.expect_menu("Log in with your browser")
    terminal.type("\r")
    terminal.expect("Open this URL in your browser:")
    code = re.search(r"(http\S+)\s+And enter the code: (\S+)\n", terminal.expect("Waiting for authorization"))
    assert code, terminal.text
    return code[1], code[2]


def test_a_login_that_is_allowed_in_the_browser(server: Hub, ana: User) -> None:
    with log_in(ana) as terminal, Browser() as browser:
        url, code = address(terminal)
        assert url.startswith(ana.url)
        browser.open(url)
        assert Form(browser.page.text).fields["code"] == code
        refused = browser.send(name=ana.name, password="no es esta", decision="allow")
        assert refused.status_code == 401
        assert 'role="alert"' in refused.text
        assert browser.send(name=ana.name, password=PASSWORD, decision="allow").status_code == 200
        assert ana.name in browser.page.text
        assert terminal.end() == 0, terminal.text
    assert "Login successful" in terminal.text
    assert ana.name in ana.run(HF, "auth", "whoami", HF_TOKEN="").stdout
    (ana.home / "hola.txt").write_text("hola")
    ana.run(HF, "repos", "create", "por-navegador", HF_TOKEN="")
    ana.run(HF, "upload", f"{ana.name}/por-navegador", str(ana.home / "hola.txt"), HF_TOKEN="")
    assert ana.api().file_exists(f"{ana.name}/por-navegador", "hola.txt")
    tokens = server.call("GET", "/api/lanza/tokens", token=ana.token)
    assert [token["role"] for token in tokens if token["name"].startswith("login-")] == ["write"]


def test_a_login_that_is_denied_in_the_browser(ana: User) -> None:
    with log_in(ana) as terminal, Browser() as browser:
        url, _ = address(terminal)
        browser.open(url)
        assert browser.send(decision="deny").status_code == 200
        assert terminal.end() != 0
    assert "Authorization was denied" in terminal.text
    assert "Traceback" not in terminal.text
    whoami = ana.run(HF, "auth", "whoami", check=False, HF_TOKEN="")
    assert "Not logged in" in whoami.stdout + whoami.stderr
