"""What clients ask before they upload, on a real server with real git."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from asking import Answer
from hub_app import Server
from hub_contents import serving, upload
from lanza.hub.contents import is_text
from lanza.hub.packs import Kind, object_id

ROUTE = "/api/models/ana/qa/preupload/main"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def ana(server: Server) -> str:
    token = server.user("ana")
    server.make(token, "qa")
    server.commit(token, "ana/qa", **{"config.json": b"{}", ".gitignore": b"*.log\n"})
    return token


def ask(
    server: Server, token: str, *files: tuple[str, int, bytes], route: str = ROUTE, **more: Any
) -> Answer:
    each = [{"path": p, "size": n, "sample": base64.b64encode(s).decode()} for p, n, s in files]
    return server.ask(route, token, method="POST", body={"files": each, **more})


def ways(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    return {file["path"]: file for file in answer.json["files"]}


@pytest.mark.parametrize(
    ("path", "size", "sample", "mode"),
    [
        ("config.json", 100, b"{}", "regular"),
        ("model.safetensors", 100, b"{}", "lfs"),
        ("deep/model.bin", 100, b"text", "lfs"),
        ("tokenizer.json", 11 * 2**20, b"{", "lfs"),
        ("image.xyz", 100, b"\x89PNG\r\n\0", "lfs"),
        ("notas.txt", 600, ("ñ" * 256).encode()[:511], "regular"),
        ("empty.bin", 0, b"", "regular"),
        ("no-sample", 5, b"", "regular"),
    ],
)
def test_each_file_gets_its_way(
    server: Server, ana: str, path: str, size: int, sample: bytes, mode: str
) -> None:
    file = ways(ask(server, ana, (path, size, sample)))[path]
    assert (file["uploadMode"], file["shouldIgnore"]) == (mode, False)


def test_what_is_there_already_is_told(server: Server, ana: str) -> None:
    sha256 = upload(server, "ana/qa", b"\0large")
    line = {"key": "lfsFile", "value": {"path": "there.bin", "oid": sha256}}
    body = "\n".join(map(json.dumps, ({"key": "header", "value": {"summary": "x"}}, line))).encode()
    assert server.ask("/api/models/ana/qa/commit/main", ana, method="POST", body=body).status == 200
    answer = ask(server, ana, ("config.json", 2, b"{}"), ("there.bin", 6, b"\0large"), ("new.txt", 1, b"x"))
    files = ways(answer)
    assert files["config.json"]["oid"] == object_id(Kind.BLOB, b"{}").hex()
    assert files["there.bin"]["oid"] == hashlib.sha256(b"\0large").hexdigest()
    assert files["new.txt"]["oid"] is None
    assert answer.json["commitOid"] == server.ask("/api/models/ana/qa").json["sha"]


def test_files_are_left_out_by_gitignore(server: Server, ana: str) -> None:
    files = [("run.log", 1, b"x"), ("run.tmp", 1, b"x")]
    assert [way["shouldIgnore"] for way in ways(ask(server, ana, *files)).values()] == [True, False]
    asked = ways(ask(server, ana, *files, gitIgnore="*.tmp"))
    assert [way["shouldIgnore"] for way in asked.values()] == [False, True]


@pytest.mark.parametrize("path", ["../x", "/x", "", "a/.git/x"])
def test_a_path_that_no_file_may_have_is_refused_before_the_upload(
    server: Server, ana: str, path: str
) -> None:
    assert ask(server, ana, (path, 1, b"x")).status == 400


def test_only_who_may_write_is_answered(server: Server, ana: str) -> None:
    eva = server.user("eva")
    assert ask(server, eva, ("a", 1, b"x")).status == 403
    assert ask(server, "", ("a", 1, b"x")).status == 401
    route = "/api/models/ana/nothing/preupload/main"
    assert ask(server, eva, ("a", 1, b"x"), route=route).headers["x-error-code"] == "RepoNotFound"
    route = "/api/models/ana/qa/preupload/nowhere"
    assert ask(server, ana, ("a", 1, b"x"), route=route).headers["x-error-code"] == "RevisionNotFound"


def test_bodies_are_bounded_and_checked(server: Server, ana: str) -> None:
    assert ask(server, ana, *[("a", 1, b"x")] * 1001).status == 413
    for body in (b"", b"[]", b'{"files": [{"path": "a"}]}', b'{"files": [{"path": "a", "size": -1}]}', b"{"):
        assert server.ask(ROUTE, ana, method="POST", body=body).status == 400
    assert server.ask(ROUTE, ana, method="POST", body=b" " * (16 * 2**20 + 1)).status == 413
    answer = ask(server, ana, ("a", 1, b"x"), route=f"{ROUTE}?create_pr=1")
    assert "pull requests" in answer.json["error"]


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (b"", True),
        (b"abc", True),
        ("ñ".encode()[:1], True),
        ("añ".encode(), True),
        ("a😀".encode()[:-1], True),
        (b"a\0b", False),
        (b"\xff\xfe\x00", False),
        (b"\x80\x80\x80\x80\x80", False),
    ],
)
def test_text_is_utf_8_whose_end_may_be_cut(sample: bytes, text: bool) -> None:
    assert is_text(sample) is text


def check(server: Server, token: str, content: str) -> Answer:
    body = {"content": content, "repoType": "model"}
    return server.ask("/api/validate-yaml", token, method="POST", body=body)


def test_a_card_is_checked_before_it_is_committed(server: Server, ana: str) -> None:
    answer = check(server, ana, "---\nlicense: mit\n---\n# Hi")
    assert (answer.status, answer.json) == (200, {"errors": [], "warnings": []})
    answer = check(server, ana, "# Hi")
    assert (answer.status, answer.json["errors"], len(answer.json["warnings"])) == (200, [], 1)


@pytest.mark.parametrize("front", ["a: [", "- a\n- b", "a: &a [1]\nb: *a", "[" * 5000])
def test_a_card_that_cannot_be_read_is_refused_with_the_reason(server: Server, ana: str, front: str) -> None:
    answer = check(server, ana, f"---\n{front}\n---\n")
    assert answer.status == 400
    assert answer.json["errors"][0]["message"]


def test_nobody_makes_the_server_read_cards(server: Server) -> None:
    assert check(server, "", "# Hi").status == 401
