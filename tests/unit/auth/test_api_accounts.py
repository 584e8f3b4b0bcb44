"""Users and organizations over HTTP: for administrators, with tokens that say so."""

from __future__ import annotations

from typing import Any

import pytest

from auth_app import AuthApp
from lanza.auth import accounts
from lanza.auth.principal import Role
from lanza.errors import Unauthorized

USERS, ORGS = "/api/lanza/users", "/api/lanza/orgs"
PASSWORD = "una contraseña larga"


@pytest.fixture
def root(app: AuthApp) -> str:
    return app.user("root", admin=True, role=Role.ADMIN)


def listed(app: AuthApp, root: str) -> dict[str, Any]:
    return {row["name"]: row for row in app.ask("GET", USERS, root).json}


def test_a_user_is_made_listed_and_removed(app: AuthApp, root: str) -> None:
    wanted = {"name": "Ana", "password": PASSWORD, "email": "ana@example.org", "full_name": "Ana María"}
    made = app.ask("POST", USERS, root, body=wanted)
    assert made.status == 201
    assert "argon2" not in made.text
    found = listed(app, root)["Ana"]
    assert (found["kind"], found["email"], found["admin"]) == ("user", "ana@example.org", False)
    assert "password" not in found
    assert app.ask("DELETE", f"{USERS}/ana", root).status == 204
    assert list(listed(app, root)) == ["root"]
    assert app.ask("DELETE", f"{USERS}/ana", root).status == 404


def test_only_an_administrator_with_such_a_token_may(app: AuthApp, root: str) -> None:
    weak = app.ask("POST", "/api/lanza/tokens", root, body={"name": "weak", "role": "write"}).json["token"]
    calls = [
        ("GET", USERS, None),
        ("POST", USERS, {"name": "x"}),
        ("PATCH", f"{USERS}/root", {"password": PASSWORD}),
        ("DELETE", f"{USERS}/root", None),
        ("POST", ORGS, {"name": "x"}),
        ("PUT", f"{ORGS}/x/members/y", {"role": "admin"}),
        ("DELETE", f"{ORGS}/x/members/y", None),
    ]
    for token, status in ((app.user("ana"), 403), (weak, 403), ("", 401)):
        assert {app.ask(method, path, token, body=body).status for method, path, body in calls} == {status}


def test_a_user_that_is_removed_is_out_at_once(app: AuthApp, root: str) -> None:
    ana = app.user("ana")
    assert app.ask("GET", "/api/whoami-v2", ana).status == 200
    app.ask("DELETE", f"{USERS}/ana", root)
    with pytest.raises(Unauthorized):
        app.ask("GET", "/api/whoami-v2", ana)


def test_the_last_administrator_cannot_go(app: AuthApp, root: str) -> None:
    assert app.ask("DELETE", f"{USERS}/root", root).status == 409
    assert app.ask("PATCH", f"{USERS}/root", root, body={"admin": False}).status == 409
    assert app.ask("POST", USERS, root, body={"name": "eva", "admin": True}).json["admin"]
    assert app.ask("DELETE", f"{USERS}/root", root).status == 204


def test_power_is_taken_at_once(app: AuthApp, root: str) -> None:
    eva = app.user("eva", admin=True, role=Role.ADMIN)
    assert app.ask("GET", USERS, eva).status == 200
    assert not app.ask("PATCH", f"{USERS}/eva", root, body={"admin": False}).json["admin"]
    assert app.ask("GET", USERS, eva).status == 403


def test_a_forgotten_password_is_replaced(app: AuthApp, root: str) -> None:
    app.user("ana", password=PASSWORD)
    assert app.ask("PATCH", f"{USERS}/ana", root, body={"password": "otra contraseña"}).status == 200
    with app.database.reading() as session:
        assert accounts.check_login(session, "ana", "otra contraseña").name == "ana"
        with pytest.raises(Unauthorized):
            accounts.check_login(session, "ana", PASSWORD)


def test_a_quota_is_set_and_lifted(app: AuthApp, root: str) -> None:
    app.user("ana")
    assert app.ask("PATCH", f"{USERS}/ana", root, body={"quota_bytes": 10**12}).json["quota_bytes"] == 10**12
    assert app.ask("PATCH", f"{USERS}/ana", root, body={}).json["quota_bytes"] == 10**12
    assert app.ask("PATCH", f"{USERS}/ana", root, body={"quota_bytes": None}).json["quota_bytes"] is None
    assert app.ask("PATCH", f"{USERS}/ana", root, body={"quota_bytes": -1}).status == 400


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"name": "api"},
        {"name": "a/b"},
        {"name": "ana", "password": "short"},
        {"name": "ana", "root": True},
    ],
)
def test_what_cannot_be_is_said_and_makes_nothing(app: AuthApp, root: str, wanted: dict[str, Any]) -> None:
    answer = app.ask("POST", USERS, root, body=wanted)
    assert (answer.status, bool(answer.json["error"])) == (400, True)
    assert list(listed(app, root)) == ["root"]


def test_the_refusal_of_a_password_does_not_repeat_it(app: AuthApp, root: str) -> None:
    answer = app.ask("POST", USERS, root, body={"name": "ana", "password": "s3cret"})
    assert "s3cret" not in answer.text


def test_a_taken_name_is_a_conflict(app: AuthApp, root: str) -> None:
    app.user("ana")
    assert app.ask("POST", USERS, root, body={"name": "ANA"}).status == 409
    assert app.ask("POST", ORGS, root, body={"name": "ANA"}).status == 409


def test_an_organization_has_members(app: AuthApp, root: str) -> None:
    ana = app.user("ana")
    made = app.ask("POST", ORGS, root, body={"name": "Club", "full_name": "The Club"})
    assert (made.status, made.json["kind"]) == (201, "org")
    member = f"{ORGS}/club/members/ana"
    assert app.ask("PUT", member, root, body={"role": "write"}).status == 204
    assert app.ask("GET", "/api/whoami-v2", ana).json["orgs"][0]["roleInOrg"] == "write"
    assert app.ask("PUT", member, root, body={"role": "read"}).status == 204
    assert app.ask("GET", "/api/whoami-v2", ana).json["orgs"][0]["roleInOrg"] == "read"
    assert app.ask("DELETE", member, root).status == 204
    assert app.ask("GET", "/api/whoami-v2", ana).json["orgs"] == []
    assert app.ask("PUT", member, root, body={"role": "owner"}).status == 400
    assert app.ask("PUT", f"{ORGS}/club/members/nobody", root, body={"role": "read"}).status == 404
    assert app.ask("PUT", f"{ORGS}/ana/members/ana", root, body={"role": "read"}).status == 404


def test_its_first_administrator_is_whoever_is_named_else_the_caller(app: AuthApp, root: str) -> None:
    app.user("ana")
    app.ask("POST", ORGS, root, body={"name": "one", "owner": "ana"})
    app.ask("POST", ORGS, root, body={"name": "two"})
    with app.database.reading() as session:
        owners = [accounts.members_of(session, accounts.get(session, name)) for name in ("one", "two")]
    assert [[(user.name, role) for user, role in each] for each in owners] == [
        [("ana", "admin")],
        [("root", "admin")],
    ]


def test_who_administers_an_organization_says_who_belongs_to_it(app: AuthApp, root: str) -> None:
    ana, eva = app.user("ana"), app.user("eva")
    app.ask("POST", ORGS, root, body={"name": "club", "owner": "ana"})
    member = f"{ORGS}/club/members/eva"
    assert app.ask("PUT", member, eva, body={"role": "admin"}).status == 403
    assert app.ask("PUT", member, ana, body={"role": "write"}).status == 204
    assert app.ask("DELETE", f"{ORGS}/club/members/ana", eva).status == 403
    assert app.ask("DELETE", member, ana).status == 204
    assert app.ask("PUT", f"{ORGS}/other/members/eva", ana, body={"role": "read"}).status == 403


def test_an_organization_is_removed_and_a_user_is_none(app: AuthApp, root: str) -> None:
    ana = app.user("ana")
    app.ask("POST", ORGS, root, body={"name": "club", "owner": "ana"})
    assert app.ask("DELETE", f"{ORGS}/club", ana).status == 403
    assert app.ask("DELETE", f"{ORGS}/ana", root).status == 404
    assert app.ask("DELETE", f"{ORGS}/club", root).status == 204
    assert sorted(listed(app, root)) == ["ana", "root"]
