"""Trees, paths and histories, on a real server with real git."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from asking import Answer
from hub_app import Server
from hub_contents import serving, upload
from lanza.hub.api import tree
from lanza.hub.objects import write_pointer

LARGE = b"\0\1" * 1000


@pytest.fixture(scope="module")
def ana(server: Server) -> str:
    return server.user("ana")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def repo(server: Server, ana: str) -> str:
    server.make(ana, "qa")
    server.commit(ana, "ana/qa", **{"config.json": b"{}", "a__b.txt": b"1", "a__c__d.txt": b"2"})
    server.commit(ana, "ana/qa", **{"a__b.txt": b"new"})
    sha256 = upload(server, "ana/qa", LARGE)
    line = {"key": "lfsFile", "value": {"path": "model.bin", "oid": sha256}}
    body = "\n".join(map(json.dumps, ({"key": "header", "value": {"summary": "Weights"}}, line))).encode()
    assert server.ask("/api/models/ana/qa/commit/main", ana, method="POST", body=body).status == 200
    return "/api/models/ana/qa"


def listed(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 200, answer.text
    return [(entry["type"], entry["path"]) for entry in answer.json]


def follow(server: Server, path: str) -> list[Any]:
    """All pages, from one Link header to the next."""
    found = []
    while path:
        answer = server.ask(path)
        assert answer.status == 200, answer.text
        found.append(answer.json)
        link = answer.headers.get("link", "")
        path = link.partition(">")[0].removeprefix("<http://hub.test:8420")
    return found


def test_a_folder_lists_what_is_in_it(server: Server, repo: str) -> None:
    top = [("file", ".gitattributes"), ("directory", "a"), ("file", "config.json"), ("file", "model.bin")]
    assert sorted(listed(server.ask(f"{repo}/tree/main"))) == sorted(top)
    assert sorted(listed(server.ask(f"{repo}/tree/main/a"))) == [("directory", "a/c"), ("file", "a/b.txt")]
    assert listed(server.ask(f"{repo}/tree/main/a%2Fc")) == [("file", "a/c/d.txt")]
    below = listed(server.ask(f"{repo}/tree/main?recursive=true&expand=false"))
    assert {("file", "a/c/d.txt"), ("directory", "a/c"), ("file", "config.json")} <= set(below)


def test_files_are_described_as_clients_read_them(server: Server, repo: str) -> None:
    entries = {entry["path"]: entry for entry in server.ask(f"{repo}/tree/main").json}
    large = entries["model.bin"]
    pointer = write_pointer(large["lfs"]["oid"], len(LARGE))
    assert (large["size"], large["lfs"]["size"], large["lfs"]["pointerSize"]) == (2000, 2000, len(pointer))
    assert set(large) == {"type", "path", "size", "oid", "lfs"}
    assert entries["config.json"]["size"] == 2
    assert len(entries["config.json"]["oid"]) == len(entries["a"]["oid"]) == 40


@pytest.mark.parametrize("path", ["missing", "additional_chat_templates", "..", "a%2F..%2F..", "a//c"])
def test_a_missing_folder_is_known_by_the_commit_that_lacks_it(server: Server, repo: str, path: str) -> None:
    answer = server.ask(f"{repo}/tree/main/{path}")
    assert (answer.status, answer.headers["x-error-code"]) == (404, "EntryNotFound")
    assert answer.headers["x-repo-commit"] == server.ask(repo).json["sha"]


def test_a_missing_revision_is_named(server: Server, repo: str) -> None:
    for route in ("tree/nowhere", "commits/nowhere"):
        assert server.ask(f"{repo}/{route}").headers["x-error-code"] == "RevisionNotFound"


def test_pages_are_of_one_state_even_when_the_branch_moves_on(
    server: Server, ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "PAGE", 3)
    server.make(ana, "pages")
    server.commit(ana, "ana/pages", **{f"{n}.txt": b"1" for n in range(8)})
    path = "/api/models/ana/pages/tree/main?recursive=true"
    first = server.ask(path)
    server.commit(ana, "ana/pages", **{"00.txt": b"1", "9.txt": b"1"})
    rest = follow(server, first.headers["link"].partition(">")[0].removeprefix("<http://hub.test:8420"))
    names = [entry["path"] for page in [first.json, *rest] for entry in page]
    assert sorted(names) == [".gitattributes", *(f"{n}.txt" for n in range(8))]
    assert [len(page) for page in [first.json, *rest]] == [3, 3, 3]


def test_expanded_entries_say_what_changed_them_last(server: Server, repo: str) -> None:
    entries = server.ask(f"{repo}/tree/main?expand=true&recursive=true").json
    last = {entry["path"]: entry["lastCommit"] for entry in entries}
    history = server.ask(f"{repo}/commits/main").json
    assert last["model.bin"]["id"] == history[0]["id"]
    assert last["a/b.txt"]["id"] == history[1]["id"]
    assert last["config.json"]["id"] == history[2]["id"]
    assert last["model.bin"]["title"] == "Weights"


def test_paths_are_described_and_missing_ones_left_out(server: Server, repo: str) -> None:
    form = b"paths=config.json&paths=a&paths=missing&paths=..%2Fx&paths=&paths=a%2Fb.txt&expand=False"
    for body, kind in (
        (form, "application/x-www-form-urlencoded"),
        (
            json.dumps({"paths": ["config.json", "a", "missing", "../x", "", "a/b.txt"]}).encode(),
            "application/json",
        ),
    ):
        answer = server.ask(f"{repo}/paths-info/main", method="POST", body=body, **{"Content-Type": kind})
        assert listed(answer) == [("file", "config.json"), ("directory", "a"), ("file", "a/b.txt")]
    body = b"paths=config.json&expand=True"
    assert "lastCommit" in server.ask(f"{repo}/paths-info/main", method="POST", body=body).json[0]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"&".join([b"paths=x"] * 10_001), "application/x-www-form-urlencoded", 413),
        (b"&".join([b"paths=x"] * 10_100), "application/x-www-form-urlencoded", 413),
        (b"\xff=1", "application/x-www-form-urlencoded", 400),
        (b'{"paths": 3}', "application/json", 400),
        (bytes(17 * 2**20), "application/json", 413),
    ],
)
def test_too_much_or_unreadable_is_refused(
    server: Server, repo: str, body: bytes, kind: str, status: int
) -> None:
    answer = server.ask(f"{repo}/paths-info/main", method="POST", body=body, **{"Content-Type": kind})
    assert answer.status == status


def test_the_history_is_told_page_by_page(server: Server, repo: str) -> None:
    whole = server.ask(f"{repo}/commits/main").json
    assert [commit["title"] for commit in whole] == [
        "Weights",
        "add <files>",
        "add <files>",
        "initial commit",
    ]
    assert whole[0]["authors"] == [{"user": "ana"}]
    assert whole[0]["date"].endswith("Z")
    pages = follow(server, f"{repo}/commits/main?limit=3")
    assert [len(page) for page in pages] == [3, 1]
    assert [commit for page in pages for commit in page] == whole
    formatted = server.ask(f"{repo}/commits/main?expand%5B%5D=formatted").json
    assert formatted[1]["formatted"]["title"] == "add &lt;files&gt;"


@pytest.mark.parametrize("cursor", [None, ["main"], ["main", -1], ["main", 2**60], {"commit": "main"}])
def test_a_cursor_that_was_made_up_is_refused(server: Server, repo: str, cursor: Any) -> None:
    packed = base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode()
    for route in ("tree", "commits"):
        assert server.ask(f"{repo}/{route}/main?cursor={packed}").status == 400


def test_a_private_tree_looks_absent(server: Server, ana: str) -> None:
    server.make(ana, "hidden", private=True)
    for route in ("tree/main", "commits/main"):
        answer = server.ask(f"/api/models/ana/hidden/{route}")
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound")
        assert server.ask(f"/api/models/ana/hidden/{route}", ana).status == 200
