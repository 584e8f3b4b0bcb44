"""Which endpoint a model's name means, and what starts when there is none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateways import GatewayWorld, saying
from lanza.auth.audit import Trail
from lanza.endpoints.states import State
from lanza.errors import Forbidden


def chat(world: GatewayWorld, model: Any, token: str = "", path: str = "/v1/chat/completions") -> Any:
    return world.ask(path, token, body={"model": model, "messages": []})


def test_a_model_is_an_endpoint_by_its_name_or_its_repository(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint("ana/one", model={"repository": "ana/becas-qa"})
    for model in ("ana/one", "Ana/One", "ana/becas-qa", "ana/Becas-QA"):
        got = chat(world, model, token)
        assert got.status == 200, got.body
        assert got.json["path"] == "/v1/chat/completions"


def test_what_is_unknown_is_a_404_that_names_what_there_is(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint("ana/one")
    world.endpoint("bea/two")
    got = chat(world, "gpt-4o", token)
    assert got.status == 404
    message = got.json["error"]["message"]
    assert "'gpt-4o'" in message
    assert "ana/one" in message
    assert "bea/two" not in message  # not ana's to call
    assert "there is none that you may call" in chat(world, "gpt-4o").json["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": 1}', b'{"messages": []}', b"\xff", b"[" * 9999]
)
def test_a_body_without_a_model_is_refused(world: GatewayWorld, body: bytes) -> None:
    got = world.ask("/v1/completions", body=body)
    assert got.status == 400
    assert got.json["error"]["param"] == "model"


def test_of_several_the_callers_own_come_first_then_the_ready_then_the_newest(world: GatewayWorld) -> None:
    token = world.user("ana")
    repository = {"repository": "ana/becas"}
    world.endpoint("bea/theirs", model=repository, type="public")
    world.endpoint("ana/paused", model=repository)
    world.endpoint("ana/idle", model=repository, replicas=0)
    world.endpoint("ana/old", model=repository)
    world.endpoint("ana/new", model=repository)
    with world.database.writing() as session:
        from lanza.endpoints import store

        store.pause(session, store.get(session, "ana", "paused"))
    chat(world, "ana/becas", token)
    assert world.network.asked[-1].startswith("unix:/run/new")
    chat(world, "ana/becas")  # nobody: only the public one
    assert world.network.asked[-1].startswith("unix:/run/theirs")


def test_an_endpoint_of_that_name_that_may_not_be_called_gives_way_to_one_that_serves_it(
    world: GatewayWorld,
) -> None:
    world.endpoint("ana/becas")
    assert chat(world, "ana/becas").status == 401
    world.endpoint("bea/open", model={"repository": "ana/becas"}, type="public")
    assert chat(world, "ana/becas").status == 200


def test_the_list_has_what_may_be_called(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint("ana/one")
    world.endpoint("bea/open", type="public")
    world.endpoint("bea/closed")
    listed = world.ask("/v1/models", token, method="GET", body=b"").json
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == ["ana/one", "bea/open"]
    one = world.ask("/v1/models/ana/one", token, method="GET", body=b"")
    assert one.json["owned_by"] == "ana"
    assert world.ask("/v1/models/ana/two", token, method="GET", body=b"").status == 404


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "POST"), ("/v1/completions", "GET")])
def test_other_methods_are_refused(world: GatewayWorld, path: str, method: str) -> None:
    assert world.ask(path, method=method).status == 405


def test_a_body_that_names_its_model_is_bounded(world: GatewayWorld) -> None:
    from dataclasses import replace

    world.settings = replace(world.settings, routed_bytes=2**20)
    got = world.ask("/v1/embeddings", body=b" " * (2**20 + 1))
    assert got.status == 413


# Serverless


class Starter:
    """What the control plane does: one endpoint for a repository, slow to come."""

    def __init__(self, world: GatewayWorld) -> None:
        self.world = world
        self.asked: list[tuple[str, str]] = []
        self.trails: list[Trail] = []

    async def __call__(self, trail: Trail, repo_id: str) -> int:
        self.asked.append((trail.caller.name, repo_id))
        self.trails.append(trail)
        if repo_id == "ana/secret":
            raise Forbidden("this repository is not yours to read.")
        await asyncio.sleep(0.01)
        return self.world.endpoint("ana/becas-serverless", model={"repository": repo_id})


def test_the_first_call_starts_an_endpoint_and_is_answered(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.serverless = Starter(world)

    async def several() -> list[Any]:
        async with world.running():
            calls = (world.call("/models/ana/becas", token) for _ in range(5))
            first = await asyncio.gather(*calls)
            return [*first, await world.call("/models/ana/becas", token)]

    assert {got.status for got in asyncio.run(several())} == {200}
    assert world.serverless.asked == [("ana", "ana/becas")]
    (trail,) = world.serverless.trails
    assert trail.address == "127.0.0.1"
    assert trail.request_id  # of the first of them


def test_starting_one_needs_a_token_and_what_the_control_plane_says(world: GatewayWorld) -> None:
    world.serverless = Starter(world)
    assert world.ask("/models/ana/becas").status == 401
    assert world.ask("/models/ana/secret", world.user("ana")).status == 403
    world.serverless = None
    got = world.ask("/models/ana/becas")
    assert got.status == 404
    assert "lanza deploy ana/becas" in got.error


def test_a_repository_with_an_endpoint_starts_none(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.serverless = Starter(world)
    world.endpoint("ana/one", model={"repository": "ana/becas"}, replicas=0)
    world.behave(saying(body=b"[0.5]"), key="ana/one")
    assert world.ask("/models/ana/becas", token).body == b"[0.5]"
    assert not world.serverless.asked


def test_a_failed_one_is_not_preferred(world: GatewayWorld) -> None:
    token = world.user("ana")
    world.endpoint("ana/good", model={"repository": "ana/becas"})
    world.endpoint("ana/bad", model={"repository": "ana/becas"})
    with world.database.writing() as session:
        from lanza.endpoints import store

        store.get(session, "ana", "bad").state = State.FAILED.value
    assert world.ask("/models/ana/becas", token).status == 200
    assert world.network.asked[-1].startswith("unix:/run/good")
