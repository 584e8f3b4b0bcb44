"""The routes about repositories as clients call them: shapes, statuses, links. No sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from hub_parts import CARD, CONFIG, hub, organization, person, push, record, safetensors
from lanza.auth.principal import ANONYMOUS, Principal
from lanza.errors import Conflict, LanzaError
from lanza.hub.api import gating, listing, refs, repos
from lanza.hub.hub import Hub


class Everybody:
    """The application, and who calls it: by name, in place of a token."""

    def __init__(self, made: Hub) -> None:
        self.app = FastAPI(exception_handlers={LanzaError: _refuse})
        self.app.state.hub = made
        for module in (listing, repos, refs, gating):
            self.app.include_router(module.router)
        self.people: dict[str, Principal] = {"": ANONYMOUS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            name = dict(scope["headers"]).get(b"authorization", b"").decode()
            scope.setdefault("state", {})["principal"] = self.people[name]
        await self.app(scope, receive, send)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LanzaError)
    url = {"url": error.url} if isinstance(error, Conflict) else {}
    return JSONResponse({"error": error.message, "code": error.code, **url}, status_code=error.status)


class Client:
    """One who calls."""

    def __init__(self, client: TestClient, name: str) -> None:
        self._client = client
        self._headers = {"Authorization": name} if name else {}

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **params: Any) -> Any:
        answer = self._client.request(
            method, path, json=body, params=params or None, headers=self._headers, follow_redirects=False
        )
        assert answer.status_code == status, answer.text
        self.last = answer
        return answer.json() if answer.content else None


@pytest.fixture
def made(tmp_path: Path) -> Hub:
    return hub(tmp_path)


@pytest.fixture
def app(made: Hub) -> Everybody:
    everybody = Everybody(made)
    organization(made, "lab")
    everybody.people["ana"] = person(made, "ana", lab="write")
    everybody.people["eva"] = person(made, "eva")
    return everybody


@pytest.fixture
def web(app: Everybody) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://hub.test:8420") as client:
        yield client


@pytest.fixture
def ana(web: TestClient) -> Client:
    return Client(web, "ana")


@pytest.fixture
def eva(web: TestClient) -> Client:
    return Client(web, "eva")


@pytest.fixture
def nobody(web: TestClient) -> Client:
    return Client(web, "")


def becas(made: Hub, ana: Client, name: str = "becas", **more: Any) -> str:
    """A model with a card, a configuration and weights; gives its commit."""
    ana("POST", "/api/repos/create", {"name": name, **more})
    files = {"README.md": CARD, "config.json": CONFIG, "onnx/model.onnx": b"onnx"}
    large = {"model.safetensors": safetensors(a=(10, 20))}
    return push(made, record(made, f"ana/{name}").id, files, large=large).oid


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({"name": "m", "organization": None}, "/ana/m"),
        ({"name": "m", "organization": "lab"}, "/lab/m"),
        ({"name": "lab/m"}, "/lab/m"),
        ({"name": "m", "type": "dataset", "visibility": "private"}, "/datasets/ana/m"),
        ({"name": "m", "type": "space", "sdk": "gradio", "private": True}, "/spaces/ana/m"),
        ({"name": "m", "type": "model", "private": False, "future": {"x": 1}}, "/ana/m"),
    ],
)
def test_a_repository_is_made_and_the_second_time_the_conflict_has_its_url(
    ana: Client, body: dict[str, Any], url: str
) -> None:
    assert ana("POST", "/api/repos/create", body)["url"] == f"http://hub.test:8420{url}"
    assert ana("POST", "/api/repos/create", body, status=409)["url"] == f"http://hub.test:8420{url}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": 3}, 400),
        ({"name": "m", "type": "kernel"}, 400),
        ({"name": "m", "type": "space"}, 400),
        ({"name": "m", "type": "space", "sdk": "gradio", "template": "x/y"}, 400),
        ({"name": "m", "type": "space", "sdk": "gradio", "secrets": [{"key": "A", "value": "b"}]}, 400),
        ({"name": "m", "visibility": "protected"}, 400),
        ({"name": "m", "visibility": "public", "private": True}, 400),
        ({"name": "a/b/c"}, 400),
        ({"name": "m", "organization": "eva"}, 403),
    ],
)
def test_what_cannot_be_made_is_refused(ana: Client, body: dict[str, Any], status: int) -> None:
    assert ana("POST", "/api/repos/create", body, status=status)["error"]


def test_nobody_makes_nothing(nobody: Client) -> None:
    for body in ({"name": "m"}, {"name": "m", "organization": "ana"}):
        assert nobody("POST", "/api/repos/create", body, status=401)


def test_a_model_tells_all_that_clients_read(made: Hub, ana: Client, nobody: Client) -> None:
    from huggingface_hub.hf_api import ModelInfo

    head = becas(made, ana)
    told = ModelInfo(**nobody("GET", "/api/models/ana/becas", blobs=True))
    assert (told.id, told.author, told.sha, told.private, told.gated) == (
        "ana/becas",
        "ana",
        head,
        False,
        False,
    )
    assert (told.pipeline_tag, told.library_name) == ("question-answering", "transformers")
    assert told.card_data is not None
    assert told.card_data.license == "mit"
    assert told.safetensors is not None
    assert told.safetensors.total == 200
    assert told.config is not None
    assert told.config["model_type"] == "bert"
    assert told.last_modified is not None
    assert told.siblings is not None
    files = {it.rfilename: it for it in told.siblings}
    assert sorted(files) == [
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "onnx/model.onnx",
    ]
    assert files["README.md"].size == len(CARD)
    lfs = files["model.safetensors"].lfs
    assert lfs is not None
    assert lfs.size == files["model.safetensors"].size == len(safetensors(a=(10, 20)))
    plain = nobody("GET", "/api/models/ana/becas")
    assert {"rfilename": "README.md"} in plain["siblings"]


def test_a_revision_tells_what_it_was(made: Hub, ana: Client) -> None:
    old = becas(made, ana)
    number = record(made, "ana/becas").id
    push(made, number, {"README.md": CARD.replace(b"mit", b"apache-2.0")})
    assert ana("GET", f"/api/models/ana/becas/revision/{old}")["cardData"]["license"] == "mit"
    assert ana("GET", f"/api/models/ana/becas/revision/{old[:9]}")["sha"] == old
    assert ana("GET", "/api/models/ana/becas/revision/main")["cardData"]["license"] == "apache-2.0"
    assert ana("GET", "/api/models/ana/becas/revision/nowhere", status=404)["code"] == "revision_not_found"


def test_just_what_is_asked_for_is_told(made: Hub, ana: Client) -> None:
    becas(made, ana)
    told = ana("GET", "/api/models/ana/becas", expand=["sha", "downloadsAllTime", "gguf"])
    assert set(told) == {"_id", "id", "modelId", "sha", "downloadsAllTime", "gguf"}
    assert "trainer" in ana("GET", "/api/models/ana/becas", expand=["trainer"], status=400)["error"]
    assert ana("GET", "/api/models/ana/becas", expand="sdk", status=400)


def test_private_and_missing_are_told_in_the_same_words(made: Hub, ana: Client, eva: Client) -> None:
    becas(made, ana, visibility="private")
    hidden = eva("GET", "/api/models/ana/becas", status=404)
    missing = eva("GET", "/api/models/ana/otra", status=404)
    assert hidden["code"] == missing["code"] == "repo_not_found"
    assert hidden["error"].replace("becas", "otra") == missing["error"]
    eva("DELETE", "/api/repos/delete", {"name": "becas", "organization": "ana"}, status=404)


def test_an_old_name_redirects_with_all_that_was_asked(made: Hub, ana: Client) -> None:
    becas(made, ana)
    ana("POST", "/api/repos/move", {"fromRepo": "ana/becas", "toRepo": "lab/becas", "type": "model"})
    ana("GET", "/api/models/ana/becas/revision/main", status=307, blobs="true")
    assert ana.last.headers["location"] == "/api/models/lab/becas/revision/main?blobs=true"
    ana("GET", "/api/models/Ana/Becas", status=307)
    assert ana.last.headers["location"] == "/api/models/lab/becas"
    assert ana("GET", "/api/models/ana/becas/refs")["branches"][0]["name"] == "main"


def test_settings_show_hide_and_gate(made: Hub, ana: Client, eva: Client) -> None:
    becas(made, ana)
    path = "/api/models/ana/becas/settings"
    assert ana("PUT", path, {"gated": "auto"})["gated"] == "auto"
    assert ana("PUT", path, {"private": True}) == {"gated": "auto", "private": True, "visibility": "private"}
    assert ana("PUT", path, {"gated": False, "visibility": "public"})["gated"] is False
    for wrong in ({"gated": True}, {"gated": "often"}, {"visibility": "hidden"}):
        ana("PUT", path, wrong, status=400)
    eva("PUT", path, {"private": True}, status=403)


def test_what_one_may_is_checked_beforehand(made: Hub, ana: Client, eva: Client, nobody: Client) -> None:
    becas(made, ana)
    path = "/api/models/ana/becas/auth-check"
    ana("GET", path + "/write")
    eva("GET", path)
    eva("GET", path + "/write", status=403)
    nobody("GET", path + "/write", status=401)
    ana("PUT", "/api/models/ana/becas/settings", {"gated": "manual"})
    assert eva("GET", path, status=403)["code"] == "gated"


def test_a_gate_opens_for_those_who_ask_and_are_accepted(made: Hub, ana: Client, eva: Client) -> None:
    becas(made, ana)
    ana("PUT", "/api/models/ana/becas/settings", {"gated": "manual"})
    assert eva("POST", "/ana/becas/ask-access", {"why": "study"}) == {"status": "pending"}
    requests = "/api/models/ana/becas/user-access-request"
    (pending,) = ana("GET", f"{requests}/pending")
    assert (pending["user"]["user"], pending["fields"], pending["status"]) == (
        "eva",
        {"why": "study"},
        "pending",
    )
    ana("POST", f"{requests}/handle", {"status": "accepted", "requestId": pending["requestId"]})
    eva("GET", "/api/models/ana/becas/auth-check")
    ana("POST", f"{requests}/handle", {"status": "rejected", "user": "eva", "rejectionReason": "no"})
    eva("GET", "/api/models/ana/becas/auth-check", status=403)
    ana("POST", f"{requests}/grant", {"user": "eva"})
    assert [it["user"]["user"] for it in ana("GET", f"{requests}/accepted")] == ["eva"]
    for wrong in ({"status": "accepted"}, {"status": "accepted", "user": "eva", "requestId": "1"}):
        ana("POST", f"{requests}/handle", wrong, status=400)
    for missing in ({"user": "nadie"}, {"requestId": "999"}, {"requestId": "x"}, {"requestId": "9" * 40}):
        ana("POST", f"{requests}/handle", {"status": "pending", **missing}, status=404)
    eva("GET", f"{requests}/pending", status=403)


def test_likes_and_who_likes(made: Hub, ana: Client, eva: Client, nobody: Client) -> None:
    becas(made, ana)
    for caller in (ana, eva, eva):
        caller("POST", "/api/models/ana/becas/like")
    assert [it["user"] for it in nobody("GET", "/api/models/ana/becas/likers")] == ["ana", "eva"]
    assert nobody("GET", "/api/models/ana/becas")["likes"] == 2
    (like,) = nobody("GET", "/api/users/EVA/likes")
    assert like["repo"] == {"name": "ana/becas", "type": "model"}
    ana("PUT", "/api/models/ana/becas/settings", {"private": True})
    assert nobody("GET", "/api/users/eva/likes") == []
    ana("DELETE", "/api/models/ana/becas/like")
    assert ana("GET", "/api/models/ana/becas")["likes"] == 1
    nobody("GET", "/api/users/nadie/likes", status=404)


def test_discussions_are_refused_and_never_an_empty_list(made: Hub, ana: Client, eva: Client) -> None:
    becas(made, ana)
    eva("GET", "/api/models/ana/becas/discussions", status=403)
    eva("GET", "/api/models/ana/otra/discussions", status=404)


def test_branches_and_tags_come_and_go(made: Hub, ana: Client, eva: Client) -> None:
    head = becas(made, ana)
    path = "/api/models/ana/becas"
    ana("POST", f"{path}/branch/prueba", {})
    ana("POST", f"{path}/branch/prueba", {}, status=409)
    ana("POST", f"{path}/branch/vieja", {"startingPoint": head[:8]})
    ana("POST", f"{path}/tag/main", {"tag": "v1", "message": "la primera"})
    ana("POST", f"{path}/tag/main", {"tag": "v1"}, status=409)
    told = eva("GET", f"{path}/refs", include_prs=1)
    assert {it["name"]: it["targetCommit"] for it in told["branches"]} == dict.fromkeys(
        ("main", "prueba", "vieja"), head
    )
    assert told["tags"] == [{"name": "v1", "ref": "refs/tags/v1", "targetCommit": head}]
    assert (told["converts"], told["pullRequests"]) == ([], [])
    ana("DELETE", f"{path}/branch/prueba")
    ana("DELETE", f"{path}/tag/v1")
    for method, address, status in (
        ("DELETE", "/branch/prueba", 404),
        ("DELETE", "/branch/main", 400),
        ("DELETE", "/tag/v1", 404),
        ("POST", "/branch/a..b", 400),
        ("POST", f"/branch/{head}", 400),
    ):
        ana(method, path + address, {} if method == "POST" else None, status=status)
    ana("POST", f"{path}/branch/otra", {"startingPoint": "nowhere"}, status=404)
    eva("POST", f"{path}/branch/otra", {}, status=403)


def test_squashed_history_is_one_commit_with_the_same_files(made: Hub, ana: Client) -> None:
    head = becas(made, ana)
    ana("POST", "/api/models/ana/becas/super-squash/main", {"message": "todo"})
    told = ana("GET", "/api/models/ana/becas")
    assert told["sha"] not in (head, None)
    assert len(told["siblings"]) == 5
    assert record(made, "ana/becas").head == told["sha"]
    ana("POST", "/api/models/ana/becas/super-squash/nowhere", {}, status=404)


def test_a_list_has_links_that_lose_nothing(made: Hub, ana: Client, nobody: Client) -> None:
    for number in range(5):
        ana("POST", "/api/repos/create", {"name": f"m{number}", "private": number == 4})
    found, url = [], "/api/models?author=ana&limit=2&sort=createdAt"
    for _ in range(9):
        page = nobody("GET", url)
        found += [it["id"] for it in page]
        link = nobody.last.links.get("next")
        if link is None:
            break
        url = link["url"].removeprefix("http://hub.test:8420")
        assert "sort=createdAt" in url
    assert found == ["ana/m3", "ana/m2", "ana/m1", "ana/m0"]
    assert len(ana("GET", "/api/models", author="ana")) == 5


def test_a_list_tells_as_much_as_is_asked_for(made: Hub, ana: Client) -> None:
    becas(made, ana)
    ana("POST", "/api/repos/create", {"name": "s", "type": "space", "sdk": "gradio"})
    (short,) = ana(
        "GET", "/api/models", filter=["es", "license:mit,becas"], pipeline_tag="question-answering"
    )
    assert not {"siblings", "cardData", "config"} & set(short)
    assert {"id", "modelId", "tags", "downloads", "likes", "private", "createdAt", "pipeline_tag"} <= set(
        short
    )
    (long,) = ana("GET", "/api/models", full="true", cardData="True", config="true")
    assert {it["rfilename"] for it in long["siblings"]} >= {"README.md", "onnx/model.onnx"}
    assert (long["cardData"]["license"], long["config"]["model_type"]) == ("mit", "bert")
    (some,) = ana("GET", "/api/models", expand=["safetensors", "sha"])
    assert some["safetensors"]["total"] == 200
    (space,) = ana("GET", "/api/spaces")
    assert space["sdk"] == "gradio"
    assert ana("GET", "/api/datasets") == []


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "size"},
        {"expand": ["nothing"]},
        {"expand": ["sha"], "full": True},
        {"num_parameters": "many"},
        {"cursor": "x"},
        {"cursor": "WzE4NDQ2NzQ0MDczNzA5NTUxNjE1LDFd", "sort": "likes"},
        {"author": "a\0b"},
        {"search": "\0"},
        {"inference": "warm"},
        {"apps": ["vllm"]},
        {"search": " ".join(map(str, range(40)))},
    ],
)
def test_what_a_list_cannot_do_is_said(ana: Client, params: dict[str, Any]) -> None:
    assert ana("GET", "/api/models", status=400, **params)["error"]


def test_a_cursor_of_another_list_is_refused(ana: Client) -> None:
    for name in ("a", "b"):
        ana("POST", "/api/repos/create", {"name": name})
    ana("GET", "/api/models", limit=1, sort="likes")
    url = ana.last.links["next"]["url"].replace("sort=likes", "sort=createdAt")
    ana("GET", url.removeprefix("http://hub.test:8420"), status=400)


def test_the_tags_in_use_are_told_by_type(made: Hub, ana: Client, nobody: Client) -> None:
    becas(made, ana)
    becas(made, ana, "oculto", private=True)
    push(made, record(made, "ana/oculto").id, {"README.md": CARD.replace(b"becas", b"oculta")})
    told = nobody("GET", "/api/models-tags-by-type")
    assert {name: [it["id"] for it in tags] for name, tags in told.items()} == {
        "pipeline_tag": ["question-answering"],
        "library": ["onnx", "safetensors", "transformers"],
        "language": ["en", "es"],
        "license": ["license:mit"],
        "other": ["becas", "bert"],
    }
    assert told["license"] == [{"id": "license:mit", "label": "mit", "type": "license"}]
    assert "oculta" in [it["id"] for it in ana("GET", "/api/models-tags-by-type")["other"]]


def test_what_a_namespace_stores(made: Hub, ana: Client, eva: Client, nobody: Client) -> None:
    becas(made, ana)
    ana("POST", "/api/repos/create", {"name": "lab/poco", "type": "dataset"})
    (mine,) = ana("GET", "/api/settings/repositories")
    assert (mine["id"], mine["type"], mine["storagePercent"]) == ("ana/becas", "model", 100)
    assert mine["storage"] > len(safetensors(a=(10, 20)))
    (theirs,) = ana("GET", "/api/organizations/lab/settings/repositories")
    assert theirs["id"] == "lab/poco"
    eva("GET", "/api/organizations/lab/settings/repositories", status=403)
    nobody("GET", "/api/settings/repositories", status=401)


def test_a_copy_is_made_where_one_may_write(made: Hub, ana: Client, eva: Client) -> None:
    head = becas(made, ana)
    told = eva(
        "POST", "/api/models/ana/becas/duplicate", {"repository": "eva/copia", "visibility": "private"}
    )
    assert (told["url"], told["filesCopyPending"]) == ("http://hub.test:8420/eva/copia", False)
    assert eva("GET", "/api/models/eva/copia")["sha"] == head
    assert "url" in eva("POST", "/api/models/ana/becas/duplicate", {"repository": "eva/copia"}, status=409)
    eva("POST", "/api/models/ana/becas/duplicate", {"repository": "ana/copia"}, status=403)
