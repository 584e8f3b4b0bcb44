"""docs/reference/hub-api.md: the client's source is read right, and what nobody has decided is an error."""

from __future__ import annotations

import sys
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"

SOURCE = """
class Api:
    def rename(self, repo_id, revision):
        get_session().post(f"{self.endpoint}/api/models/{quote(repo_id, safe='')}/rename", json={})

    def tree(self, repo_id, revision=None):
        path = (
            f"{self.endpoint}/api/models/{repo_id}"
            if revision is None
            else f"{self.endpoint}/api/models/{repo_id}/revision/{quote(revision)}"
        )
        yield from paginate(path, params={})

    def send(self, endpoint=None):
        url = f"{endpoint or constants.ENDPOINT}/oauth/token"
        http_backoff("POST", url, data={"url": f"{OTHER}/never"})

    def link(self):
        return f"{self.endpoint}/{self.repo_id}"

TEMPLATE = ENDPOINT + "/{repo_id}/resolve/{filename}"
MESSAGE = f"{ENDPOINT} cannot be reached"
"""


@pytest.fixture(scope="module")
def hub_api() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        return import_module("generators.hub_api")
    finally:
        sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def installed(hub_api: Any) -> Any:
    return hub_api.addresses()


@pytest.fixture
def client(installed: Any) -> Any:
    return deepcopy(installed)


def test_addresses_are_read_from_source(hub_api: Any, tmp_path: Path) -> None:
    (tmp_path / "api.py").write_text(SOURCE)
    found = hub_api.addresses(tmp_path)
    assert found.requests == {
        ("POST", "/api/models/{repo_id}/rename"): ["rename"],
        ("GET", "/api/models/{repo_id}"): ["tree"],
        ("GET", "/api/models/{repo_id}/revision/{revision}"): ["tree"],
        ("POST", "/oauth/token"): ["send"],
    }
    assert found.others == {"/{repo_id}", "/{repo_id}/resolve/{filename}"}


def test_a_route_that_the_server_has_lost_is_an_error(hub_api: Any, client: Any) -> None:
    left = [route for route in hub_api.routes() if not route.path.endswith("/paths-info/{rev:rev}")]
    with pytest.raises(SystemExit, match=r"POST /api/\{repo_type\}s/\{repo_id\}/paths-info/\{revision\}"):
        hub_api.compare(client, left)


@pytest.mark.parametrize("path", ["/api/models/{repo_id}/rename", "/api/models/featured", "/api/new"])
def test_a_request_that_the_client_has_gained_is_an_error(hub_api: Any, client: Any, path: str) -> None:
    client.requests["GET", path] = ["new"]
    with pytest.raises(SystemExit, match="no such route"):
        hub_api.compare(client, hub_api.routes())


def test_an_address_whose_use_is_unknown_is_an_error(hub_api: Any, client: Any) -> None:
    client.others.add("/api/new")
    with pytest.raises(SystemExit, match="nothing says what the client does with /api/new"):
        hub_api.compare(client, hub_api.routes())


def test_a_reason_that_nothing_needs_is_an_error(
    hub_api: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_api, "NOT", {**hub_api.NOT, "/api/gone": "it is gone"})
    with pytest.raises(SystemExit, match="/api/gone is needed no more"):
        hub_api.compare(client, hub_api.routes())


def test_no_reason_hides_a_route_that_is_here(hub_api: Any, client: Any) -> None:
    """`/api/spaces/hardware` looks like the Space called `hardware` to the server: it does not count."""
    answers = {one.request: one.status for one in hub_api.compare(client, hub_api.routes())}
    assert answers["GET", "/api/spaces/hardware"] == "not"
    assert answers["GET", "/api/{repo_type}s/{repo_id}/refs"] == "supported"
    assert answers["POST", "/api/repos/create"] == "partly"
