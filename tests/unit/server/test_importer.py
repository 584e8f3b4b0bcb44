"""Models of the hub behind this one: brought when they are to be served; names of ours are never told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_parts import hub as make_hub
from hub_parts import person
from lanza.auth import accounts
from lanza.errors import RepoNotFound, UpstreamAway
from lanza.hub import repos
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName, parse_repo
from lanza.server import importer
from lanza.server.importer import Importer
from lanza.server.repositories import HubRepositories


class FakeUpstream:
    url = "https://hub.example"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = make_hub(tmp_path)
    with made.database.writing() as session:
        accounts.create_user(session, "root", admin=True)
    yield made
    made.database.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that upstream is asked for. It has all of `google`'s, and is away for `away`'s."""
    names: list[str] = []

    async def import_repo(hub: Hub, caller: Any, upstream: Any, name: RepoName, *, revision: str) -> None:
        names.append(f"{name.id}@{revision}")
        if name.namespace == "away":
            raise UpstreamAway("the upstream hub cannot be asked.")
        assert caller.rules
        with hub.database.writing() as session:
            owner = accounts.get(session, caller.name)
            accounts.create_org(session, name.namespace, owner=owner)
        await asyncio.to_thread(repos.create, hub, caller, name)

    monkeypatch.setattr(importer, "import_repo", import_repo)
    return names


def resolve(hub: Hub, caller: Any, name: str, revision: str | None = None) -> Any:
    async def run() -> Any:
        upstream: Any = FakeUpstream()
        brings = Importer(hub, upstream)
        brings.begin()
        repositories = HubRepositories(hub, bring=brings.bring)
        return await asyncio.to_thread(repositories.resolve, caller, name, revision)

    return asyncio.run(run())


def test_what_is_not_here_is_brought_once(hub: Hub, asked: list[str]) -> None:
    ana = person(hub, "ana")
    found = resolve(hub, ana, "google/vit", "v1")
    assert found.name == "google/vit"
    assert len(found.commit) == 40
    assert resolve(hub, ana, "google/vit").commit == found.commit
    assert asked == ["google/vit@v1"]


def test_names_of_ours_are_told_to_nobody(hub: Hub, asked: list[str]) -> None:
    ana, eva = person(hub, "ana"), person(hub, "eva")
    repos.create(hub, eva, parse_repo(Kind.MODEL, "eva/secret"), visibility="private")
    for name in ("eva/secret", "ana/nothing"):
        with pytest.raises(RepoNotFound):
            resolve(hub, ana, name)
    assert asked == []


def test_a_hub_that_is_away_is_said_with_the_name(hub: Hub, asked: list[str]) -> None:
    ana = person(hub, "ana")
    with pytest.raises(UpstreamAway, match=r"the model away/x is not on this server, and .* Check the name"):
        resolve(hub, ana, "away/x")
