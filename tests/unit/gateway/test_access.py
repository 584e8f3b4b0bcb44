"""Who may call: levels of security, tokens of all kinds, addresses, pages of other sites."""

from __future__ import annotations

from typing import Any

import pytest

from gateways import GatewayWorld
from lanza.auth import accounts
from lanza.auth.principal import Grant, Role, Scope
from lanza.auth.records import Token

LEVELS = ("public", "authenticated", "protected", "private")


@pytest.mark.parametrize("level", LEVELS)
def test_without_a_token_only_a_public_one_answers(world: GatewayWorld, level: str) -> None:
    world.endpoint(type=level)
    got = world.ask()
    assert got.status == (200 if level == "public" else 401)
    if level != "public":
        assert level in got.error
        assert got.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("token", ["lz_" + "x" * 40, "hf_of_another_server"])
def test_a_wrong_token_is_a_401_where_one_is_needed(world: GatewayWorld, level: str, token: str) -> None:
    world.endpoint(type=level)
    assert world.ask(token=token).status == (200 if level == "public" else 401)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("role", [Role.READ, Role.WRITE])
def test_the_owner_may_call(world: GatewayWorld, level: str, role: Role) -> None:
    token = world.user("ana", role)
    world.endpoint(type=level)
    assert world.ask(token=token).status == 200


@pytest.mark.parametrize(("level", "status"), [("authenticated", 200), ("protected", 403), ("private", 403)])
def test_another_may_call_what_asks_for_any_token(world: GatewayWorld, level: str, status: int) -> None:
    world.endpoint(type=level)
    assert world.ask(token=world.user("bea")).status == status


@pytest.mark.parametrize(
    ("named", "status"),
    [(["bea"], 200), (["Bea/test"], 200), (["bea/other"], 403), (["eva"], 403), (["be"], 403)],
)
def test_an_endpoint_names_who_may_call_besides(world: GatewayWorld, named: list[str], status: int) -> None:
    world.endpoint(allowedTokens=named)
    assert world.ask(token=world.user("bea")).status == status


@pytest.mark.parametrize(
    ("entity", "scope", "level", "status"),
    [
        ("ana", Scope.CALL, "authenticated", 200),
        ("ana/becas", Scope.CALL, "authenticated", 200),
        ("ana/other", Scope.CALL, "authenticated", 403),
        ("bea", Scope.CALL, "authenticated", 403),
        ("ana", Scope.READ, "authenticated", 403),
        ("ana", Scope.CALL, "protected", 403),  # bea is no member: a token adds nothing to that
    ],
)
def test_a_fine_grained_token_needs_the_scope(
    world: GatewayWorld, entity: str, scope: Scope, level: str, status: int
) -> None:
    grants = [Grant(entity=entity, scopes=frozenset({scope}))]
    token = world.user("bea", Role.FINE_GRAINED, grants=grants)
    world.endpoint(type=level)
    got = world.ask(token=token)
    assert got.status == status
    if status == 403:
        said = "the grant ana/becas=inference" if level == "authenticated" else "name it in allowedTokens"
        assert said in got.error


def test_an_account_that_is_named_still_needs_a_token_with_the_scope(world: GatewayWorld) -> None:
    grants = [Grant(entity="bea", scopes=frozenset({Scope.CALL}))]
    token = world.user("bea", Role.FINE_GRAINED, grants=grants)
    world.endpoint(allowedTokens=["bea"])
    got = world.ask(token=token)
    assert got.status == 403
    assert "has no right to call ana/becas" in got.error  # and its owner has named it already


@pytest.mark.parametrize("client", ["10.0.0.7", "::ffff:10.0.0.7", "", "unknown"])
def test_a_private_one_answers_internal_addresses_only(world: GatewayWorld, client: str) -> None:
    token = world.user("ana")
    world.endpoint(type="private")
    got = world.ask(token=token, client=client)
    assert got.status == 403
    assert "internal address" in got.error
    for inside in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert world.ask(token=token, client=inside).status == 200


def test_a_token_that_is_revoked_is_believed_no_longer_than_it_is_cached(world: GatewayWorld) -> None:
    import asyncio

    token = world.user("ana")
    world.endpoint()

    async def revoked() -> list[int]:
        async with world.running():
            statuses = [(await world.call(token=token)).status]
            with world.database.writing() as session:
                session.query(Token).delete()
            world.clock.now += 5
            return [*statuses, (await world.call(token=token)).status]

    assert asyncio.run(revoked()) == [200, 401]


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        ("/v1/models", "GET", b""),
        ("/v1/models/ana/becas", "GET", b""),
        ("/v1/chat/completions", "POST", b'{"model": "ana/becas"}'),
        ("/v1/chat/completions", "POST", b'{"model": "ana/none"}'),
        ("/models/ana/becas", "POST", b"{}"),
    ],
)
def test_a_wrong_token_is_said_to_be_wrong(world: GatewayWorld, path: str, method: str, body: bytes) -> None:
    """Not that there is nothing, or that one should be sent: programs try their key at /v1/models."""
    world.endpoint()
    got = world.ask(path, token="lz_wrong", method=method, body=body)
    assert got.status == 401
    assert "Invalid credentials" in str(got.json["error"])


def test_a_wrong_token_shuts_out_of_nothing_that_is_public(world: GatewayWorld) -> None:
    """Clients of OpenAI always send one."""
    world.endpoint(type="public")
    listed = world.ask("/v1/models", token="none", method="GET")
    assert [it["id"] for it in listed.json["data"]] == ["ana/becas"]
    assert world.ask("/v1/completions", token="none", body={"model": "ana/becas"}).status == 200


# Pages


ORIGIN = "https://app.example"


@pytest.mark.parametrize(
    ("cors", "origin", "status", "allowed"),
    [
        ([ORIGIN], ORIGIN, 200, ORIGIN),
        ([ORIGIN + "/"], "https://APP.example", 200, "https://APP.example"),
        (["*"], ORIGIN, 200, "*"),
        ([], ORIGIN, 403, None),
        (["https://other.example"], ORIGIN, 403, None),
        ([ORIGIN], "null", 403, None),
        ([], "http://hub.test:8420", 200, None),
    ],
)
def test_pages_of_other_sites_must_be_named(
    world: GatewayWorld, cors: list[str], origin: str, status: int, allowed: str | None
) -> None:
    world.endpoint(type="public", cors=cors)
    got = world.ask(headers={"Origin": origin})
    assert got.status == status
    assert got.headers.get("access-control-allow-origin") == allowed
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-own",
    }
    before = world.ask(method="OPTIONS", headers=asked, body=b"")
    assert before.status == (204 if status == 200 else 403)
    assert before.headers.get("access-control-allow-headers") == ("x-own" if status == 200 else None)
    assert len(world.network.asked) == (status == 200)


def test_a_browser_asks_before_it_sends_its_token(world: GatewayWorld) -> None:
    world.endpoint(type="protected", cors=[ORIGIN])
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    got = world.ask(method="OPTIONS", headers=asked, body=b"")
    assert got.status == 204
    assert "authorization" in got.headers["access-control-allow-headers"]
    refused = world.ask(headers={"Origin": ORIGIN})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN  # so that the page can read why


@pytest.mark.parametrize("kind", ["public", "protected"])
def test_a_page_in_a_sandbox_may_call_with_a_token_of_its_own_only(world: GatewayWorld, kind: str) -> None:
    token = world.user("ana")
    world.endpoint(type=kind)
    page = {"Origin": "null", "Sec-Fetch-Site": "cross-site"}
    got = world.ask(token=token, headers=page)
    assert (got.status, got.headers["access-control-allow-origin"]) == (200, "null")
    assert "access-control-allow-credentials" not in got.headers
    for bad in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YW5hOng="}):
        assert world.ask(headers={**page, **bad}).status in (401, 403)
    assert len(world.network.asked) == 1
    asked = {**page, "Access-Control-Request-Method": "POST"}
    for wanted, status in (("content-type", 403), ("authorization,content-type", 204)):
        before = {**asked, "Access-Control-Request-Headers": wanted}
        assert world.ask(method="OPTIONS", headers=before, body=b"").status == status


def test_scripts_run_in_docs_alone_and_with_an_origin_of_nobody(world: GatewayWorld) -> None:
    world.endpoint(type="public")
    address = "/endpoints/ana/becas"
    policy = world.ask(f"{address}/docs", method="GET", body=b"").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    for path, method in (("/docs", "POST"), ("/docs/x", "GET"), ("/", "GET")):
        got = world.ask(address + path, method=method, body=b"")
        assert got.headers["content-security-policy"] == "sandbox"


def test_members_of_an_organization_may_call_its_endpoints(world: GatewayWorld) -> None:
    token = world.user("ana")
    stranger = world.user("bea")
    with world.database.writing() as session:
        accounts.create_org(session, "lab", owner=accounts.get(session, "ana"))
    world.endpoint("lab/becas")
    assert world.ask("/endpoints/lab/becas", token).status == 200
    assert world.ask("/endpoints/lab/becas", stranger).status == 403


def test_an_options_request_that_is_none_of_cors_goes_to_the_replica(world: GatewayWorld) -> None:
    world.endpoint(type="public")
    got: Any = world.ask(method="OPTIONS", body=b"")
    assert got.status == 200
