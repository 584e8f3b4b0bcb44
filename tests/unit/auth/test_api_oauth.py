"""What `hf auth login` asks for, and the page in between, without a browser."""

from __future__ import annotations

import re
from html import unescape

import pytest

from asking import Answer
from auth_app import AuthApp
from lanza.auth.guard import FREE
from lanza.auth.signing import Signer

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PASSWORD = "una contraseña larga"


class Browser:
    """Keeps the page's cookie and hidden field, as a browser does."""

    def __init__(self, app: AuthApp, *, client: str = "10.0.0.1") -> None:
        self.app, self.client = app, client
        self.cookie = self.proof = ""

    def open(self, code: str) -> Answer:
        return self._read(self.app.ask("GET", f"/oauth/activate?code={code}", Cookie=self.cookie))

    def send(self, code: str, name: str, password: str, decision: str = "allow") -> Answer:
        form = {"proof": self.proof, "code": code, "name": name, "password": password, "decision": decision}
        answer = self.app.ask("POST", "/oauth/activate", form=form, client=self.client, Cookie=self.cookie)
        return self._read(answer)

    def _read(self, answer: Answer) -> Answer:
        if cookie := answer.headers.get("set-cookie"):
            self.cookie = cookie.partition(";")[0]
        if found := re.search(r'name="proof" value="([^"]*)"', answer.text):
            self.proof = unescape(found[1])
        return answer


@pytest.fixture
def ana(app: AuthApp) -> str:
    return app.user("ana", password=PASSWORD)


@pytest.fixture
def browser(app: AuthApp, ana: str) -> Browser:
    return Browser(app)


def begin(app: AuthApp) -> dict[str, str]:
    answer = app.ask("POST", "/oauth/device", form={"client_id": "any"})
    assert answer.status == 200
    found: dict[str, str] = answer.json
    return found


def poll(app: AuthApp, device_code: str, grant: str = DEVICE_GRANT) -> Answer:
    form = {"grant_type": grant, "device_code": device_code, "client_id": "any"}
    return app.ask("POST", "/oauth/token", form=form)


def test_a_login_from_its_beginning_to_its_end(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    assert codes["verification_uri"] == "http://hub.test:8420/oauth/activate"
    assert codes["verification_uri_complete"].endswith(f"?code={codes['user_code']}")
    assert (codes["interval"], codes["expires_in"]) == (5, 900)
    waiting = poll(app, codes["device_code"])
    assert (waiting.status, waiting.json["error"]) == (400, "authorization_pending")
    page = browser.open(codes["user_code"])
    assert f'value="{codes["user_code"]}"' in page.text
    done = browser.send(codes["user_code"], "ana", PASSWORD)
    assert (done.status, "Logged in" in done.text) == (200, True)
    answer = poll(app, codes["device_code"])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["token_type"] == "bearer"
    who = app.ask("GET", "/api/whoami-v2", answer.json["access_token"]).json
    assert (who["name"], who["auth"]["accessToken"]["role"]) == ("ana", "write")
    assert poll(app, codes["device_code"]).json["error"] == "expired_token"


def test_what_is_denied_is_told_to_the_program(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    browser.open(codes["user_code"])
    assert "Denied" in browser.send(codes["user_code"], "", "", "deny").text
    assert poll(app, codes["device_code"]).json["error"] == "access_denied"


def test_other_grants_are_not_known(app: AuthApp) -> None:
    answer = poll(app, "x", "refresh_token")
    assert (answer.status, answer.json["error"]) == (400, "unsupported_grant_type")
    assert answer.json["error_description"]


def test_a_wrong_password_brings_the_page_back(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    browser.open(codes["user_code"])
    answer = browser.send(codes["user_code"], "ana", "wrong password")
    assert answer.status == 401
    assert "The user name or the password is wrong." in answer.text
    assert f'value="{codes["user_code"]}"' in answer.text
    assert 'value="ana"' in answer.text
    assert "wrong password" not in answer.text
    assert poll(app, codes["device_code"]).json["error"] == "authorization_pending"
    assert browser.send(codes["user_code"], "ana", PASSWORD).status == 200


def test_an_unknown_code_brings_the_page_back(browser: Browser) -> None:
    browser.open("")
    answer = browser.send("BCDF-GHJK", "ana", PASSWORD)
    assert (answer.status, "No login waits for this code" in answer.text) == (404, True)
    assert browser.send("", "ana", PASSWORD).status == 404
    assert browser.send("BCDF-GHJK", "", "").status == 400


def test_a_form_from_elsewhere_decides_nothing(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    browser.open(codes["user_code"])
    other = Browser(app)
    other.open(codes["user_code"])
    for cookie, proof in (
        ("", browser.proof),
        (browser.cookie, ""),
        (browser.cookie, "x.y"),
        (other.cookie, browser.proof),
        ("lanza_form=" + "0" * 32, browser.proof),
        ("lanza_form=", Signer(b"k" * 32, clock=app.clock).sign("form", {"nonce": ""}, seconds=9)),
    ):
        for decision in ("allow", "deny"):
            forged = Browser(app)
            forged.cookie, forged.proof = cookie, proof
            assert forged.send(codes["user_code"], "ana", PASSWORD, decision).status == 403
    assert poll(app, codes["device_code"]).json["error"] == "authorization_pending"
    assert browser.send(codes["user_code"], "ana", PASSWORD).status == 200


def test_an_old_form_is_renewed(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    browser.open(codes["user_code"])
    app.clock.now += 3600
    answer = browser.send(codes["user_code"], "ana", PASSWORD)
    assert (answer.status, "try once more" in answer.text) == (403, True)
    assert browser.send(codes["user_code"], "ana", PASSWORD).status == 200


def test_two_pages_in_one_browser_are_both_good(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    browser.open(codes["user_code"])
    first = browser.proof
    browser.open("")
    browser.proof = first
    assert browser.send(codes["user_code"], "ana", PASSWORD).status == 200


def test_guessing_a_password_gets_slow_for_everybody(app: AuthApp, browser: Browser) -> None:
    codes = begin(app)
    for number in range(FREE):
        guesser = Browser(app, client=f"10.0.1.{number}")
        guesser.open("")
        assert guesser.send(codes["user_code"], "Ana", "guess number x").status == 401
    browser.open("")
    answer = browser.send(codes["user_code"], "ana", PASSWORD)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    app.clock.now += 1
    assert browser.send(codes["user_code"], "ana", PASSWORD).status == 200


def test_guessing_names_gets_slow_for_an_address(app: AuthApp, browser: Browser) -> None:
    browser.open("")
    found = [browser.send("BCDF-GHJK", f"user{number}", "guess").status for number in range(21)]
    assert found == [401] * 20 + [429]


def test_guessing_codes_gets_slow_too(browser: Browser) -> None:
    browser.open("")
    found = [browser.send("BCDF-GHJK", "", "", "deny").status for number in range(21)]
    assert found == [404] * 20 + [429]


def test_one_address_cannot_start_logins_without_end(app: AuthApp) -> None:
    found = [app.ask("POST", "/oauth/device", form={}).status for _ in range(51)]
    assert found == [200] * 50 + [429]


def test_the_page_is_closed_to_other_sites_and_to_caches(app: AuthApp) -> None:
    answer = app.ask("GET", "/oauth/activate")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_what_stands_in_the_address_is_no_html(app: AuthApp, browser: Browser) -> None:
    assert "<script" not in browser.open("%22%3E%3Cscript%3E").text
    answer = browser.send("BCDF-GHJK", '"><script>alert(1)</script>', "guess guess")
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_a_form_must_be_one(app: AuthApp) -> None:
    assert app.ask("POST", "/oauth/token", body={"grant_type": DEVICE_GRANT}).status == 415
    many = {str(number): "x" for number in range(100)}
    assert app.ask("POST", "/oauth/token", form=many).status == 400
    assert app.ask("POST", "/oauth/token", form={"x": "y" * 2**19}).status == 413
