"""The API of endpoints over the whole server, without the loop: what is ours, and what no client sends."""

from __future__ import annotations

from typing import Any

import pytest

from asking import Answer
from hub_app import Server
from lanza.auth import accounts, audit, tokens
from lanza.auth.principal import Role
from lanza.database import now
from lanza.endpoints import usage

CONFIG = b'{"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}'
CLOUD = {
    "provider": {"vendor": "aws", "region": "us-east-1"},
    "compute": {"accelerator": "gpu", "instanceType": "nvidia-l4", "instanceSize": "x1"},
}


@pytest.fixture
def ana(server: Server) -> str:
    token = server.user("ana")
    server.make(token, "becas")
    server.commit(token, "ana/becas", **{"config.json": CONFIG})
    return token


def create(server: Server, token: str, query: str = "", **changes: Any) -> Answer:
    tree = {"name": "qa", "model": {"repository": "ana/becas"}, **changes}
    return server.ask(f"/v2/endpoint/ana{query}", token, method="POST", body=tree)


def ours(server: Server, token: str, what: str, **more: Any) -> Answer:
    return server.ask(f"/api/lanza/endpoints/ana/qa/{what}", token, **more)


def put(server: Server, token: str, **changes: Any) -> Answer:
    return server.ask("/v2/endpoint/ana/qa", token, method="PUT", body=changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": {"amount": -1}}, "budget.amount is in dollars, and more than 0"),
        ({"budget": {"amount": 1, "period": "week"}}, "day, month or total"),
        ({"budget": "lots"}, "`budget`"),
        ({"compute": "cpu"}, "`compute`"),
        ({"name": 3}, "`name`"),
        ({"model": None}, "`model`"),
        ({"model": {"repository": "ana/becas", "secrets": {"A": 1}}}, "`model.secrets"),
        ({"model": {"repository": "ana/becas", "secrets": {"A": None}}}, "has no value yet"),
        ({"colour": "blue"}, "colour"),
        ({"platform": "moon"}, "there is no platform 'moon' here; there is: local"),
        ({"expires": "2027-01-01T00:00:00"}, "expires needs its zone"),
        ({"expires": "2020-01-01T00:00:00Z"}, "expires is in the past"),
        ({"webhook": "mailto:ana@example.org"}, "webhook"),
        ({"deadline": 0}, "deadline is more than 0"),
    ],
)
def test_what_is_wrong_is_said(server: Server, ana: str, changes: dict[str, Any], said: str) -> None:
    answer = create(server, ana, **changes)
    assert answer.status == 400
    assert said in answer.json["error"]
    assert answer.headers["x-error-message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'"x"', b"\xff", b'{"tags":' + b"[" * 100_000])
def test_a_body_that_is_no_tree(server: Server, ana: str, body: bytes) -> None:
    for path in ("/v2/endpoint/ana", "/api/lanza/estimate", "/api/repos/create"):
        assert server.ask(path, ana, method="POST", body=body).status == 400


def test_what_is_kept_can_be_shown(server: Server, ana: str) -> None:
    """Any object is taken in `privateService`: one that no answer could hold would hide the whole list."""
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": deep}
    refused = create(server, ana, privateService=deep)
    assert (refused.status, "too deep" in refused.json["error"]) == (400, True)
    assert create(server, ana, privateService={"a": {"b": ["c"]}}).status == 202
    assert server.ask("/v2/endpoint/ana", ana).status == 200


def test_a_safety_policy_is_not_pretended(server: Server, ana: str) -> None:
    assert create(server, ana, safety={"input": "all"}).status == 501


def test_all_fields_are_told(server: Server, ana: str) -> None:
    made = create(server, ana, budget={"amount": 5}, allowedTokens=["eva"], tags=["t"])
    assert made.status == 202
    assert made.json["budget"] == {"amount": 5.0, "period": "month"}
    assert made.json["allowedTokens"] == ["eva"]
    assert made.json["status"]["targetReplica"] == 1
    assert "url" not in made.json["status"]
    assert made.json["lanza"]["url"] == "http://hub.test:8420/endpoints/ana/qa"
    assert made.json["compute"]["instanceType"] == "cpu"


def test_hardware_of_elsewhere_can_be_rehearsed(server: Server, ana: str) -> None:
    assert create(server, ana, **CLOUD).status == 400
    made = create(server, ana, "?rehearse=1", **CLOUD)
    assert made.status == 202
    assert "so it runs on cpu x1" in made.json["status"]["message"]
    assert made.headers["x-hf-warning"].startswith("lanza-rehearsal; this is a rehearsal")
    assert made.json["compute"]["instanceType"] == "nvidia-l4"
    assert made.json["lanza"]["instance"]["instanceType"] == "cpu"
    changed = put(server, ana, compute={"scaling": {"maxReplica": 3}})
    assert changed.status == 200
    assert changed.json["compute"]["instanceType"] == "nvidia-l4"


def test_secrets_without_a_value_stay_and_others_go(server: Server, ana: str) -> None:
    create(server, ana, model={"repository": "ana/becas", "secrets": {"A": "1", "B": "2"}})
    assert put(server, ana, model={"secrets": {"A": None, "C": "3"}}).json["model"]["secrets"] == {
        "A": None,
        "C": None,
    }
    assert "has no value yet" in put(server, ana, model={"secrets": {"B": None}}).json["error"]
    assert put(server, ana, tags=["x"]).json["lanza"]["revision"] == 2


def test_an_update_of_nothing_takes_the_newest_commit(server: Server, ana: str) -> None:
    before = create(server, ana).json["model"]["revision"]
    server.commit(ana, "ana/becas", **{"more.txt": b"x"})
    assert put(server, ana, tags=["x"]).json["model"]["revision"] == before
    changed = put(server, ana)
    assert changed.json["model"]["revision"] != before
    assert changed.json["lanza"]["revision"] == 2


def test_revisions_and_the_way_back(server: Server, ana: str) -> None:
    create(server, ana, model={"repository": "ana/becas", "env": {"A": "1"}, "secrets": {"S": "geheim"}})
    put(server, ana, model={"env": {"A": "2"}}, budget={"amount": 3})
    found = ours(server, ana, "revisions").json
    assert [(it["number"], it["current"]) for it in found] == [(2, True), (1, False)]
    assert "geheim" not in str(found)
    back = ours(server, ana, "rollback", method="POST", body={}).json
    assert back["model"]["env"] == {"A": "1"}
    assert back["budget"]["amount"] == 3
    assert back["lanza"]["revision"] == 3
    again = ours(server, ana, "rollback", method="POST", body={"revision": 2})
    assert again.json["model"]["env"] == {"A": "2"}
    assert ours(server, ana, "rollback", method="POST", body={"revision": 4}).status == 400
    assert "no revision 9" in ours(server, ana, "rollback", method="POST", body={"revision": 9}).json["error"]


def test_there_is_nothing_before_the_first_revision(server: Server, ana: str) -> None:
    create(server, ana)
    assert "only one revision" in ours(server, ana, "rollback", method="POST").json["error"]


def test_replicas_and_logs_of_none(server: Server, ana: str) -> None:
    create(server, ana)
    assert ours(server, ana, "replicas").json == []
    assert ours(server, ana, "logs").body == b""
    assert ours(server, ana, "logs?replica=nobody").status == 404


def test_usage_and_costs(server: Server, ana: str) -> None:
    create(server, ana)
    with server.hub.database.writing() as session:
        day = usage.day_of(now())
        used = [
            usage.Used(endpoint="ana/qa", day=day, cost=0.25, replica_seconds=90),
            usage.Used(endpoint="ana/qa", day=day, token="eva/t", requests=3, errors=1),
            usage.Used(endpoint="ana/gone", day=day, cost=1.0),
            usage.Used(endpoint="anarchy/x", day=day, cost=9.0),
            usage.Used(endpoint="ana/qa", day="2020-01-01", cost=7.0),
        ]
        usage.add(session, used)
    by_day = ours(server, ana, "usage").json
    assert [(it["token"], it["requests"], it["cost"]) for it in by_day] == [("", 0, 0.25), ("eva/t", 3, 0.0)]
    costs = server.ask("/api/lanza/costs", ana).json
    assert [(it["endpoint"], it["cost"]) for it in costs] == [("ana/gone", 1.0), ("ana/qa", 0.25)]
    one = server.ask("/api/lanza/costs?namespace=ana&endpoint=qa&by=token&days=7", ana).json
    assert [(it["token"], it["requests"]) for it in one] == [("", 0), ("eva/t", 3)]
    assert server.ask("/api/lanza/costs?by=day", ana).json[0]["day"] == day
    assert server.ask("/api/lanza/costs?by=moon", ana).status == 400
    assert server.ask("/api/lanza/costs").status == 401
    assert server.ask("/api/lanza/costs?namespace=eva", ana).status == 403


def test_what_is_ours_is_for_those_who_may(server: Server, ana: str) -> None:
    create(server, ana)
    eva = server.user("eva")
    for what in ("logs", "replicas", "revisions", "usage"):
        assert ours(server, eva, what).status == 403
        assert ours(server, "", what).status == 401
    assert ours(server, eva, "rollback", method="POST").status == 403


def test_an_account_with_endpoints_stays(server: Server, ana: str) -> None:
    create(server, ana)
    with server.hub.database.writing() as session:
        root = accounts.create_user(session, "root", admin=True)
        admin = tokens.issue(session, root, name="t", role=Role.ADMIN)[1]
    refused = server.ask("/api/lanza/users/ana", admin, method="DELETE")
    assert refused.status == 409
    assert "has endpoints (qa): remove them first, with `lanza rm`" in refused.json["error"]
    server.ask("/v2/endpoint/ana/qa", ana, method="DELETE")
    assert "are ending" in server.ask("/api/lanza/users/ana", admin, method="DELETE").json["error"]


def test_programs_are_for_administrators(server: Server, ana: str) -> None:
    program = {"repository": "ana/becas", "image": {"custom": {"port": 80}}, "command": ["vllm", "serve"]}
    refused = create(server, ana, model=program)
    assert refused.status == 403
    assert "--allow-command" in refused.json["error"]
    root = (server.hub.git.root.parent / "admin.token").read_text().strip()
    made = create(server, root, model=program)
    assert made.status == 202
    assert put(server, ana, compute={"scaling": {"maxReplica": 2}}).status == 200
    assert put(server, ana, model={"args": ["--port", "1"]}).status == 403
    assert put(server, ana, model={"env": {"A": "1"}}).status == 403


def test_addresses_below_v2_that_are_nothing(server: Server, ana: str) -> None:
    for path in ("/v2", "/v2/nothing", "/v2/endpoint/ana/qa/explode"):
        assert server.ask(path, ana, Accept="text/html").status == 404


def test_the_audit_log_says_by_which_request_and_from_where(server: Server, ana: str) -> None:
    """All that changes an endpoint, the catalog's way too."""
    tree = {"name": "qa", "model": {"repository": "ana/becas", "env": {"target": "x", "what": "y"}}}
    one = "/v2/endpoint/ana/qa"
    wishes = [
        ("create", "POST", "/v2/endpoint/ana", tree),
        ("update", "PUT", one, {"tags": ["x"], "model": {"env": {"A": "1"}}}),
        ("rollback", "POST", "/api/lanza/endpoints/ana/qa/rollback", {"revision": 1}),
        ("pause", "POST", f"{one}/pause", None),
        ("resume", "POST", f"{one}/resume", None),
        ("scale-to-zero", "POST", f"{one}/scale-to-zero", None),
        ("remove", "DELETE", one, None),
        ("create", "POST", "/api/v1/catalog/model/ana/becas/deploy", {"namespace": "ana"}),
    ]
    for number, (_, method, path, body) in enumerate(wishes):
        headers = {"X-Request-Id": f"r-{number}"}
        answer = server.ask(path, ana, method=method, body=body, **headers)
        assert answer.status in (200, 202), answer.text
    with server.hub.database.reading() as session:
        found = audit.entries(session, audit.Filter(what="endpoint."))
    assert [(it.what, it.request_id) for it in reversed(found)] == [
        (f"endpoint.{what}", f"r-{number}") for number, (what, *_) in enumerate(wishes)
    ]
    assert {(it.who, it.token, it.address) for it in found} == {("ana", "test", "127.0.0.1")}
