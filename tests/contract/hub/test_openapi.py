"""The server's own description of itself: valid, and true enough that nothing asked by it is a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # now: in the middle of a test, Python 3.11 may fail to compile it
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate

from hub_contents import ContentServer, serving

EXAMPLES = 5
"""For each operation: enough to meet what a route forgets, few enough for each run of the tests."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentServer]:
    with serving(tmp_path_factory.mktemp("described")) as made:
        made.make(made.user("ana"), "becas")
        yield made


@pytest.fixture(scope="module")
def admin(server: ContentServer) -> str:
    (path,) = Path(str(server.hub.database.url.database)).parent.glob("admin.token")
    return path.read_text().strip()


def test_the_document_is_valid_and_whole(server: ContentServer) -> None:
    document = server.ask("/openapi.json").json
    validate(document)
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len(operations) > 60
    assert all(one["summary"] and one["tags"] and one["operationId"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    wanted = document["paths"]["/api/lanza/users"]["post"]["requestBody"]["content"]["application/json"]
    assert wanted["schema"] == {"$ref": "#/components/schemas/NewUser"}
    parameters = document["paths"]["/api/{plural}/{repo}/tree/{rev}"]["get"]["parameters"]
    assert {"plural", "repo", "rev", "recursive"} <= {one["name"] for one in parameters}


@pytest.mark.parametrize("who", ["an administrator", "nobody"])
@pytest.mark.timeout(300)
def test_nothing_that_it_describes_fails(server: ContentServer, admin: str, who: str) -> None:
    async def requests(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":  # each client would start and end the server, which is started once
            await server.app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})

    schema = schemathesis.openapi.from_asgi("/openapi.json", requests)
    headers = {"Authorization": f"Bearer {admin}"} if who != "nobody" else {}
    failed: list[str] = []

    def check(case: Any) -> None:
        answer = case.call(headers=headers)
        if answer.status_code >= 500:
            failed.append(f"{answer.status_code}: {case.as_curl_command()}")

    for found in schema.get_all_operations():
        examined = given(case=found.ok().as_strategy())(check)
        settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(examined)()
    assert not failed
