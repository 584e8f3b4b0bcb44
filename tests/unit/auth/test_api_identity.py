"""Who am I, and who is that, as huggingface_hub reads it."""

from __future__ import annotations

import pytest
from huggingface_hub.hf_api import Organization, User

from auth_app import AuthApp
from lanza.auth import accounts, tokens
from lanza.auth.grants import read_grant
from lanza.auth.principal import Role


@pytest.fixture
def ana(app: AuthApp) -> str:
    """A token of Ana's, who belongs to Club."""
    token = app.user("Ana", email="ana@example.org", full_name="Ana María")
    app.user("eva")
    with app.database.writing() as session:
        club = accounts.create_org(session, "Club", owner=accounts.get(session, "eva"), full_name="The Club")
        accounts.set_member(session, club, accounts.get(session, "ana"), "write")
    return token


def test_i_am_who_my_token_says(app: AuthApp, ana: str) -> None:
    found = app.ask("GET", "/api/whoami-v2", ana).json
    assert (found["type"], found["name"], found["fullname"]) == ("user", "Ana", "Ana María")
    assert found["email"] == "ana@example.org"
    [org] = found["orgs"]
    assert (org["name"], org["type"], org["fullname"], org["roleInOrg"]) == (
        "Club",
        "org",
        "The Club",
        "write",
    )
    assert found["auth"]["type"] == "access_token"
    assert found["auth"]["accessToken"]["role"] == "write"
    assert found["auth"]["accessToken"]["displayName"] == "test"
    assert not found["isAdmin"]
    assert ana not in str(found)


def test_nobody_is_told_to_log_in(app: AuthApp) -> None:
    answer = app.ask("GET", "/api/whoami-v2")
    assert answer.status == 401
    assert "hf auth login" in answer.json["error"]


def test_an_administrator_s_token_counts_as_one_that_writes(app: AuthApp) -> None:
    found = app.ask("GET", "/api/whoami-v2", app.user("root", admin=True, role=Role.ADMIN)).json
    assert found["auth"]["accessToken"]["role"] == "write"
    assert found["isAdmin"]


def test_a_fine_grained_token_says_what_it_may(app: AuthApp, ana: str) -> None:
    grants = [
        read_grant("Ana/becas", ["repo.write", "repo.content.read"]),
        read_grant("club", ["repo.content.read"]),
        read_grant("ana", ["repo.content.read"]),
    ]
    with app.database.writing() as session:
        account = accounts.get(session, "ana")
        _, value = tokens.issue(session, account, name="ci", role=Role.FINE_GRAINED, grants=grants)
    shown = app.ask("GET", "/api/whoami-v2", value).json["auth"]["accessToken"]
    assert shown["role"] == "fineGrained"
    scoped = shown["fineGrained"]["scoped"]
    assert [one["entity"]["type"] for one in scoped] == ["model", "org", "user"]
    assert scoped[0]["entity"]["name"] == "Ana/becas"
    assert scoped[0]["permissions"] == ["repo.content.read", "repo.write"]


def test_the_client_reads_a_user(app: AuthApp, ana: str) -> None:
    found = User(**app.ask("GET", "/api/users/ana/overview", ana).json)
    assert (found.username, found.fullname, found.user_type) == ("Ana", "Ana María", "user")
    assert [org.name for org in found.orgs] == ["Club"]


def test_strangers_see_neither_address_nor_organizations(app: AuthApp, ana: str) -> None:
    answer = app.ask("GET", "/api/users/ana/overview")
    assert answer.json["orgs"] == []
    assert "example.org" not in answer.text
    assert "example.org" not in app.ask("GET", "/api/users/ana/overview", app.user("otra")).text


def test_the_client_reads_an_organization_and_its_members(app: AuthApp, ana: str) -> None:
    found = Organization(**app.ask("GET", "/api/organizations/CLUB/overview").json)
    assert (found.name, found.fullname, found.num_users) == ("Club", "The Club", 2)
    members = app.ask("GET", "/api/organizations/club/members", ana).json
    assert [User(**member).username for member in members] == ["Ana", "eva"]
    assert app.ask("GET", "/api/organizations/club/members").status == 401


@pytest.mark.parametrize(
    "path", ["/api/users/club/overview", "/api/organizations/ana/overview", "/api/users/nobody/overview"]
)
def test_what_is_not_there_is_a_404(app: AuthApp, ana: str, path: str) -> None:
    assert app.ask("GET", path, ana).status == 404
