"""Tokens over HTTP: made, listed, revoked; never stronger than the one that asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from auth_app import AuthApp
from lanza.auth import accounts, tokens
from lanza.auth.grants import read_grant
from lanza.auth.principal import Role
from lanza.database import now

TOKENS = "/api/lanza/tokens"


def make(app: AuthApp, token: str, **wanted: Any) -> Any:
    return app.ask("POST", TOKENS, token, body={"name": "new", **wanted})


def names(app: AuthApp, token: str, query: str = "") -> list[str]:
    return [row["name"] for row in app.ask("GET", TOKENS + query, token).json]


def test_a_new_token_is_shown_once(app: AuthApp) -> None:
    ana = app.user("ana")
    answer = make(app, ana, role="write")
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    value = answer.json["token"]
    assert app.ask("GET", "/api/whoami-v2", value).json["auth"]["accessToken"]["displayName"] == "new"
    listed = app.ask("GET", TOKENS, ana)
    assert [(row["name"], row["role"]) for row in listed.json] == [("test", "write"), ("new", "write")]
    assert listed.json[1]["hint"] == value[-4:]
    assert value not in listed.text


def test_a_token_only_reads_unless_more_is_asked_for(app: AuthApp) -> None:
    assert make(app, app.user("ana")).json["role"] == "read"


def test_a_revoked_token_is_worthless_at_once(app: AuthApp) -> None:
    ana = app.user("ana")
    value = make(app, ana).json["token"]
    assert app.ask("GET", "/api/whoami-v2", value).status == 200
    assert app.ask("DELETE", f"{TOKENS}/new", ana).status == 204
    with pytest.raises(Exception, match="Invalid credentials"):
        app.ask("GET", "/api/whoami-v2", value)
    assert app.ask("DELETE", f"{TOKENS}/new", ana).status == 404


def test_a_name_is_taken_once(app: AuthApp) -> None:
    ana = app.user("ana")
    assert make(app, ana).status == 201
    answer = make(app, ana)
    assert (answer.status, "revoke" in answer.json["error"]) == (409, True)


def test_nobody_has_no_tokens(app: AuthApp) -> None:
    for answer in (app.ask("GET", TOKENS), make(app, ""), app.ask("DELETE", f"{TOKENS}/x")):
        assert answer.status == 401


def test_a_token_that_reads_manages_none_but_may_end_itself(app: AuthApp) -> None:
    ana = app.user("ana")
    reader = make(app, ana).json["token"]
    assert app.ask("GET", TOKENS, reader).status == 403
    assert make(app, reader).status == 403
    assert app.ask("DELETE", f"{TOKENS}/test", reader).status == 403
    assert app.ask("DELETE", f"{TOKENS}/new", reader).status == 204
    assert names(app, ana) == ["test"]


def test_a_fine_grained_token_manages_none(app: AuthApp) -> None:
    ana = app.user("ana")
    grants = [{"entity": "ana", "scopes": ["repo.content.read", "repo.write"]}]
    fine = make(app, ana, role="fine-grained", grants=grants)
    assert fine.json["grants"] == grants
    assert make(app, fine.json["token"], name="more", role="write").status == 403


def test_only_an_administrator_s_token_makes_another(app: AuthApp) -> None:
    root = app.user("root", admin=True, role=Role.ADMIN)
    weak = make(app, root, name="weak", role="write").json["token"]
    assert make(app, weak, role="admin").status == 403
    assert make(app, app.user("ana"), role="admin").status == 403
    assert make(app, root, role="admin").status == 201


def test_an_administrator_manages_those_of_others(app: AuthApp) -> None:
    ana, root = app.user("ana"), app.user("root", admin=True, role=Role.ADMIN)
    assert make(app, root, user="ANA", role="write").json["user"] == "ana"
    assert names(app, root, "?user=ana") == ["test", "new"]
    assert app.ask("DELETE", f"{TOKENS}/new?user=ana", root).status == 204
    assert names(app, ana) == ["test"]
    assert make(app, root, user="ana", role="admin").status == 400
    assert make(app, root, user="nobody").status == 404


def test_others_manage_their_own_alone(app: AuthApp) -> None:
    ana, _ = app.user("ana"), app.user("eva")
    for answer in (
        make(app, ana, user="eva"),
        app.ask("GET", f"{TOKENS}?user=eva", ana),
        app.ask("DELETE", f"{TOKENS}/test?user=eva", ana),
    ):
        assert answer.status == 403
    assert make(app, ana, user="ANA").status == 201


def test_no_token_is_outlived_by_what_it_makes(app: AuthApp) -> None:
    app.user("ana")
    end = now() + timedelta(days=3)
    with app.database.writing() as session:
        account = accounts.get(session, "ana")
        _, short = tokens.issue(session, account, name="short", role=Role.WRITE, expires_at=end)
    answer = make(app, short, expires_at=(end + timedelta(days=1)).isoformat())
    assert (answer.status, "outlives" in answer.json["error"]) == (403, True)
    assert make(app, short, name="same").json["expires_at"] is not None
    earlier = (end - timedelta(days=1)).isoformat()
    assert make(app, short, name="earlier", expires_at=earlier).json["expires_at"][:10] == earlier[:10]
    kept = {row["name"]: row["expires_at"] for row in app.ask("GET", TOKENS, short).json}
    assert kept["same"] == kept["short"]
    assert kept["test"] is None


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": 1},
        {"name": ""},
        {"role": "god"},
        {"expiresAt": "2099-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"role": "fine-grained"},
        {"role": "fine-grained", "grants": [{"entity": "ana", "scopes": ["everything"]}]},
        {"role": "fine-grained", "grants": ["ana"]},
        {"role": "read", "grants": [{"entity": "ana", "scopes": ["repo.write"]}]},
    ],
)
def test_what_cannot_be_is_said_and_makes_nothing(app: AuthApp, wanted: dict[str, Any]) -> None:
    ana = app.user("ana")
    answer = make(app, ana, **wanted)
    assert answer.status == 400
    assert answer.json["error"]
    assert names(app, ana) == ["test"]


def test_a_body_that_is_no_json_or_too_large_is_refused(app: AuthApp) -> None:
    ana = app.user("ana")
    assert app.ask("POST", TOKENS, ana, body="x" * 2**19).status == 413
    assert app.ask("POST", TOKENS, ana, body=[]).status == 400
    assert app.ask("POST", TOKENS, ana).status == 400


def test_grants_come_back_as_they_were_given() -> None:
    assert read_grant("ana", ["repo.write", "repo.write"]) == read_grant("ana", ["repo.write"])
