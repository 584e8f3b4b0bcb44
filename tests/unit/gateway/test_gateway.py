"""From a request to a replica and back: what each side gets to see."""

from __future__ import annotations

import pytest

from gateways import GatewayWorld, saying
from lanza.auth.principal import Role


def test_a_request_reaches_the_replica_and_its_answer_comes_back(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint()
    got = world.ask("/endpoints/ana/becas?wait=1", token, body={"inputs": "hola"})
    assert got.status == 200
    assert got.json == {"path": "/?wait=1", "body": '{"inputs": "hola"}'}
    assert got.headers["content-security-policy"] == "sandbox"
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/endpoints/ana/becas", "/"),
        ("/endpoints/ana/becas/", "/"),
        ("/endpoints/Ana/Becas/v1/chat/completions", "/v1/chat/completions"),
        ("/endpoints/ana/becas/a%2Fb/../c?q=%20", "/a%2Fb/../c?q=%20"),
        ("/models/ana/becas", "/"),
        ("/models/ana/becas/v1/chat/completions", "/v1/chat/completions"),
        ("/pipeline/feature-extraction/ana/becas", "/"),
    ],
)
def test_what_follows_the_name_is_the_replicas_path(world: GatewayWorld, asked: str, path: str) -> None:
    world.endpoint(type="public")
    assert world.ask(asked).json["path"] == path


def test_what_proves_who_calls_stays_here(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint()
    given = {
        "Cookie": "lanza=secret",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
        "X-Forwarded-For": "6.6.6.6",
        "X-Request-Id": "abc-1",
        "X-Own": "2",
    }
    got = world.ask(token=token, headers=given, client="10.0.0.7")
    seen = world.network.requests[0].headers
    assert got.headers["x-request-id"] == seen["x-request-id"] == "abc-1"
    assert not {"authorization", "cookie", "connection", "x-hop", "te", "transfer-encoding"} & set(seen)
    assert seen["x-own"] == "2"
    assert seen["x-forwarded-for"] == "10.0.0.7"
    assert seen["x-forwarded-prefix"] == "/endpoints/ana/becas"
    assert seen["content-length"] == "2"


def test_a_replica_sets_nothing_for_this_address(world: GatewayWorld) -> None:
    world.endpoint(type="public", replicas=0)
    headers = {
        "content-type": "text/html",
        "set-cookie": "lanza=stolen",
        "content-security-policy": "script-src *",
        "access-control-allow-origin": "*",
        "connection": "close",
        "x-own": "1",
    }
    world.behave(saying(headers=headers, body=b"<script>"))
    got = world.ask(method="GET", body=b"")
    assert got.headers["content-security-policy"] == "sandbox"
    assert got.headers["x-own"] == "1"
    assert not {"set-cookie", "access-control-allow-origin", "connection"} & set(got.headers)
    assert got.headers["content-length"] == "8"


@pytest.mark.parametrize("status", [204, 304, 400, 404, 422, 429, 500])
def test_what_a_replica_says_is_passed_on(world: GatewayWorld, status: int) -> None:
    world.endpoint(type="public", replicas=0)
    world.behave(saying(status=status, body=b""))
    got = world.ask()
    assert (got.status, got.body) == (status, b"")
    assert len(world.network.asked) == 1


@pytest.mark.parametrize(
    "path", ["/", "/api/models", "/endpoints", "/endpoints/ana", "/modelsx", "/models", "/v2/endpoint/ana"]
)
def test_what_is_not_for_endpoints_goes_on_to_the_hub(world: GatewayWorld, path: str) -> None:
    assert world.ask(path).status == 299


def test_a_page_of_a_model_stays_the_hubs(world: GatewayWorld) -> None:
    assert world.ask("/models/ana/becas", method="GET").status == 299


def test_errors_have_the_form_of_the_protocol(world: GatewayWorld) -> None:
    plain = world.ask("/endpoints/ana/none")
    assert plain.status == 404
    assert "there is no endpoint ana/none" in plain.json["error"]
    assert plain.json["request_id"] == plain.headers["x-request-id"]
    openai = world.ask("/endpoints/ana/none/v1/chat/completions")
    assert openai.status == 404
    assert openai.json["error"]["type"] == "invalid_request_error"
    assert world.ask("/v1/audio/speech").json["error"]["code"] == "not_found"


def test_websockets_are_refused_in_words(world: GatewayWorld) -> None:
    world.endpoint(type="public")
    got = world.ask(method="GET", headers={"Upgrade": "WebSocket", "Connection": "Upgrade"})
    assert got.status == 501
    assert "WebSockets" in got.json["error"]


def test_a_token_of_basic_is_good_too_but_not_from_another_site(world: GatewayWorld) -> None:
    from base64 import b64encode

    token = world.user("ana", Role.READ)
    world.endpoint()
    basic = {"Authorization": "Basic " + b64encode(f"ana:{token}".encode()).decode()}
    assert world.ask(headers=basic).status == 200
    assert world.ask(headers={**basic, "Sec-Fetch-Site": "cross-site"}).status == 403
