"""The application as a whole: health, addresses that are nobody's, and what every address has in common."""

from __future__ import annotations

import pytest

from hub_app import Server
from lanza.auth import accounts, tokens
from lanza.auth.names import RESERVED, check_namespace
from lanza.auth.principal import Role
from lanza.errors import NotFound


def test_it_says_that_it_is_well(server: Server) -> None:
    assert server.ask("/healthz").json == {"status": "ok"}
    assert server.ask("/readyz").json == {"status": "ready"}


def test_health_needs_no_token_and_minds_no_wrong_one(server: Server) -> None:
    assert server.ask("/healthz", "wrong").status == 200
    assert server.ask("/readyz", "wrong").status == 200


@pytest.mark.parametrize("path", ["/api/nothing", "/no/such/address/at/all", "/api/models/a/b/c/d/e"])
def test_an_address_of_nothing_is_a_404_without_a_code_of_repositories(server: Server, path: str) -> None:
    for method in ("GET", "POST"):
        answer = server.ask(path, method=method)
        assert answer.status == 404
        assert "x-error-code" not in answer.headers
        assert answer.json["error"]


def test_a_method_that_an_address_does_not_take_is_a_405(server: Server) -> None:
    answer = server.ask("/healthz", method="DELETE")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_a_missing_repository_is_named_by_its_code(server: Server) -> None:
    answer = server.ask("/api/models/ana/nothing")
    assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound")


def test_a_body_of_the_wrong_shape_says_what_is_wrong(server: Server) -> None:
    answer = server.ask("/api/repos/create", server.user("ana"), method="POST", body=b"{")
    assert answer.status == 400
    assert answer.json["error"]


def test_first_parts_of_all_addresses_can_be_no_namespace(server: Server) -> None:
    from fastapi.routing import APIRoute

    from lanza.server.app import ROUTERS

    paths = [route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    firsts = {path.split("/")[1] for path in paths}
    fixed = {first for first in firsts if first and not first.startswith("{")}
    assert fixed <= RESERVED
    for name in fixed - {"favicon.ico"}:
        with pytest.raises(Exception, match="address of this server"):
            check_namespace(name)


def test_the_schema_names_the_routes(server: Server) -> None:
    document = server.ask("/openapi.json").json
    assert document["info"]["title"] == "Lanza"
    assert any(path.startswith("/api/") for path in document["paths"])
    assert NotFound.status == 404


def test_an_account_that_is_removed_leaves_no_files_behind(server: Server) -> None:
    for name in ("ana", "eva"):
        server.make(server.user(name), "becas")
    with server.hub.database.writing() as session:
        admin = accounts.get(session, "admin")
        root = tokens.issue(session, admin, name="test", role=Role.ADMIN)[1]
    assert server.hub.git.numbers() == [1, 2]
    assert server.ask("/api/lanza/users/nobody", root, method="DELETE").status == 404
    assert server.ask("/api/lanza/users/admin", root, method="DELETE").status == 409
    assert server.hub.git.numbers() == [1, 2]
    assert server.ask("/api/lanza/users/ana", root, method="DELETE").status == 204
    assert server.hub.git.numbers() == [2]
    assert server.ask("/api/lanza/orgs", root, method="POST", body={"name": "club"}).status == 201
    server.make(root, "becas", organization="club")
    assert server.hub.git.numbers() == [2, 3]
    assert server.ask("/api/lanza/orgs/club", root, method="DELETE").status == 204
    assert server.hub.git.numbers() == [2]
