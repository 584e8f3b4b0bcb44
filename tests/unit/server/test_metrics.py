"""`/metrics` and `/docs`: what is counted, by what, and for whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from asking import ask
from hub_app import Server
from hub_contents import upload
from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.hub.holdings import Holdings
from lanza.server.app import application
from lanza.server.metrics import LARGE, Counted, Metrics
from lanza.server.settings import ServerSettings, networks

NOTHING = Holdings(repositories={}, accounts={}, blobs=0, stored_bytes=0, logical_bytes=0, begun_uploads=0)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


def test_requests_are_counted_by_their_routes_and_never_by_their_paths(server: Server) -> None:
    for number in range(3):
        assert server.ask(f"/api/models/ana/secret-{number}").status == 404
    server.ask("/no/such/place/at/all")
    text = server.ask("/metrics").text
    route = "/api/{plural}/{repo}"
    assert one(text, "lanza_requests_total", method="GET", route=route, status="404") == 3
    assert one(text, "lanza_request_seconds_count", method="GET", route=route) == 3
    assert one(text, "lanza_requests_running") == 1  # this one
    assert "secret" not in text
    assert "such" not in text


def test_an_invented_method_is_no_label(server: Server) -> None:
    server.ask("/healthz", method="HACK1")
    assert "HACK1" not in server.ask("/metrics").text


def test_bodies_are_counted(server: Server) -> None:
    before = server.ask("/metrics").text
    answer = server.ask("/api/validate-yaml", method="POST", body=b"x" * 1000)
    after = server.ask("/metrics").text
    came = [one(text, "lanza_body_bytes_total", way="in") for text in (before, after)]
    went = [one(text, "lanza_body_bytes_total", way="out") for text in (before, after)]
    assert came[1] - came[0] == 1000
    assert went[1] - went[0] == len(before.encode()) + len(answer.body)


def test_what_the_hub_holds_is_told(server: Server) -> None:
    ana = server.user("ana")
    for name in ("una", "otra"):
        server.make(ana, name)
        upload(server, f"ana/{name}", b"x" * 5000)
    text = server.ask("/metrics").text
    assert one(text, "lanza_repositories", kind="model") == 2
    assert one(text, "lanza_repositories", kind="space") == 0
    assert one(text, "lanza_accounts", kind="user") == 2
    assert (one(text, "lanza_blobs"), one(text, "lanza_stored_bytes")) == (1, 5000)
    assert one(text, "lanza_logical_bytes") == 10_000
    assert one(text, "lanza_begun_uploads") == 0


def test_the_database_is_not_asked_each_time() -> None:
    asked: list[float] = []
    now = [100.0]

    def holdings() -> Holdings:
        asked.append(now[0])
        return NOTHING

    metrics = Metrics(CollectorRegistry(), holdings=holdings, replicas=dict, clock=lambda: now[0])
    for moment in (100.0, 129.0, 131.0):
        now[0] = moment
        metrics.render()
    assert asked == [100.0, 131.0]


def test_an_upload_counts_while_it_comes_in() -> None:
    metrics = Metrics(CollectorRegistry(), holdings=lambda: NOTHING, replicas=dict)
    seen: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            seen.append(one(metrics.render().decode(), "lanza_uploads_running"))
            if not message["more_body"]:
                raise RuntimeError("broken")

    pieces = [LARGE, 1, 1]

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(pieces.pop(0)), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "PUT", "headers": [], "client": ("10.0.0.1", 1)}
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(Counted(app, metrics)(scope, receive, send))
    assert seen == [0, 1, 1]
    text = metrics.render().decode()
    assert one(text, "lanza_uploads_running") == one(text, "lanza_requests_running") == 0
    assert one(text, "lanza_requests_total", method="PUT", route="none", status="499") == 1


def root(server: Server) -> str:
    with server.hub.database.writing() as session:
        return tokens.issue(session, accounts.get(session, "admin"), name="t", role=Role.ADMIN)[1]


def test_metrics_are_for_this_machine_or_an_administrator(server: Server) -> None:
    assert ask(server.app, "/metrics", client="::1").status == 200
    assert ask(server.app, "/metrics", client="10.0.0.9").status == 401
    ana, admin = server.user("ana"), root(server)
    for token, status in ((ana, 403), (admin, 200)):
        headers = {"Authorization": f"Bearer {token}"}
        assert ask(server.app, "/metrics", client="10.0.0.9", headers=headers).status == status


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_a_proxy_on_this_machine_lets_nobody_in(server: Server, header: str) -> None:
    assert ask(server.app, "/metrics", headers={header: "127.0.0.1"}).status == 401


def test_nor_does_one_that_is_known_and_says_nothing(server: Server, tmp_path: Any) -> None:
    settings = ServerSettings(data=tmp_path / "data", upstream=None, proxies=networks(["127.0.0.1"]))
    assert ask(application(server.hub, settings, {}), "/metrics").status == 401
    assert ask(application(server.hub, settings, {}), "/metrics", client="127.0.0.2").status == 200


def test_who_says_to_come_from_here_is_not_believed(server: Server, tmp_path: Any) -> None:
    settings = ServerSettings(data=tmp_path / "data", upstream=None, proxies=networks(["10.0.0.0/8"]))
    app = application(server.hub, settings, {})
    assert ask(app, "/metrics", client="10.0.0.9", headers={"X-Forwarded-For": "127.0.0.1"}).status == 401


def test_the_page_of_the_api_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.page("/docs")
    assert page.status == 200
    assert "POST /api/lanza/users" in page.text
    assert "A new user" in page.text
    assert "full_name" in page.text  # the body's type
    assert "<script" not in page.text
    assert "//" not in page.text.replace("://", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
