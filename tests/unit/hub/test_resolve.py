"""Downloads, on a real server with real git and a real blob store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select

from asking import Answer
from hub_app import Server
from hub_contents import ContentServer, serving, upload
from lanza.hub.api.resolve import Pieces
from lanza.hub.objects import write_pointer
from lanza.hub.packs import Kind, object_id
from lanza.hub.records import Repo, RepoBlob

CONFIG = b'{"model_type": "bert"}'
LARGE = bytes(range(256)) * 20_000  # several pieces
SHA256 = hashlib.sha256(LARGE).hexdigest()
FILES = {
    "config.json": CONFIG,
    "page.html": b"<script>alert(1)</script>",
    'sub__ñandú [1] "x".svg': b"<svg/>",
    "notes.txt": b"hello",
    "empty": b"",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentServer]:
    with serving(tmp_path_factory.mktemp("hub")) as made:
        ana = made.user("ana")
        for name in ("qa", "hidden"):
            made.make(ana, name, private=name == "hidden")
            made.commit(ana, f"ana/{name}", **FILES)
            upload(made, f"ana/{name}", LARGE)
            lines: list[Any] = [
                {"key": "header", "value": {"summary": "Weights"}},
                {"key": "lfsFile", "value": {"path": "model.safetensors", "oid": SHA256}},
            ]
            body = "\n".join(map(json.dumps, lines)).encode()
            answer = made.ask(f"/api/models/ana/{name}/commit/main", ana, method="POST", body=body)
            assert answer.status == 200, answer.text
        yield made


@pytest.fixture(scope="module")
def eva(server: Server) -> str:
    return server.user("eva")


def get(server: Server, path: str, repo: str = "ana/qa", method: str = "GET", **headers: str) -> Answer:
    return server.ask(f"/{repo}/resolve/main/{path}", method=method, **headers)


def head_of(server: Server, repo: str = "ana/qa") -> str:
    sha: str = server.ask(f"/api/models/{repo}").json["sha"]
    return sha


def test_a_small_file_comes_with_what_clients_remember_it_by(server: Server) -> None:
    answer = get(server, "config.json")
    assert (answer.status, answer.body) == (200, CONFIG)
    assert answer.headers["etag"] == f'"{object_id(Kind.BLOB, CONFIG).hex()}"'
    assert answer.headers["x-repo-commit"] == head_of(server)
    assert answer.headers["content-length"] == str(len(CONFIG))
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_large_file_is_known_by_its_sha256(server: Server) -> None:
    answer = get(server, "model.safetensors")
    assert (answer.status, answer.body) == (200, LARGE)
    assert answer.headers["etag"] == answer.headers["x-linked-etag"] == f'"{SHA256}"'
    assert answer.headers["content-length"] == answer.headers["x-linked-size"] == str(len(LARGE))
    assert "x-xet-hash" not in answer.headers


@pytest.mark.parametrize(("path", "size"), [("config.json", len(CONFIG)), ("model.safetensors", len(LARGE))])
def test_head_says_the_same_without_the_content(server: Server, path: str, size: int) -> None:
    answer = get(server, path, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(size)
    whole = {name: value for name, value in get(server, path).headers.items() if name != "x-request-id"}
    assert whole.items() <= dict(answer.headers).items()


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=1048570-1048590", 1048570, 1048591), ("bytes=5119990-", 5119990, 5120000)],
)
def test_a_download_goes_on_where_it_ended(server: Server, asked: str, start: int, stop: int) -> None:
    answer = get(server, "model.safetensors", Range=asked)
    assert (answer.status, answer.body) == (206, LARGE[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(LARGE)}"
    assert answer.headers["content-length"] == str(stop - start)


def test_a_part_of_a_small_file_is_sent_too(server: Server) -> None:
    assert get(server, "notes.txt", Range="bytes=-2").body == b"lo"


def test_a_range_behind_the_end_is_refused(server: Server) -> None:
    answer = get(server, "notes.txt", Range="bytes=5-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */5")


def test_a_file_that_the_client_has_is_not_sent(server: Server) -> None:
    answer = get(server, "model.safetensors", **{"If-None-Match": f'"{SHA256}"'})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{SHA256}"'
    assert "content-length" not in answer.headers


def test_an_empty_file_is_a_file(server: Server) -> None:
    answer = get(server, "empty")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_every_way_to_name_a_revision_leads_to_the_file(server: Server) -> None:
    head = head_of(server)
    for revision in ("main", head, head[:8], "refs%2Fheads%2Fmain"):
        answer = server.ask(f"/ana/qa/resolve/{revision}/config.json")
        assert (answer.status, answer.headers["x-repo-commit"]) == (200, head)
    assert server.ask("/ana/qa.git/resolve/main/config.json").status == 404


def test_a_missing_file_is_known_by_the_commit_that_lacks_it(server: Server) -> None:
    for path in ("missing.json", "sub", "sub%2F..%2F..%2Fetc%2Fpasswd", ".git/config", "a%00b", "%2E%2E/x"):
        answer = get(server, path)
        if "%00" in path:
            assert answer.status == 400
            continue
        assert (answer.status, answer.headers["x-error-code"]) == (404, "EntryNotFound")
        assert answer.headers["x-repo-commit"] == head_of(server)


def test_missing_revisions_and_repositories_say_which_is_missing(server: Server) -> None:
    for url, code in (
        ("/ana/qa/resolve/nowhere/config.json", "RevisionNotFound"),
        (f"/ana/qa/resolve/{'0' * 40}/config.json", "RevisionNotFound"),
        ("/ana/nothing/resolve/main/config.json", "RepoNotFound"),
        ("/datasets/ana/qa/resolve/main/config.json", "RepoNotFound"),
    ):
        answer = server.ask(url)
        assert (answer.status, answer.headers["x-error-code"]) == (404, code)


def test_a_private_file_looks_absent_to_others(server: Server, eva: str) -> None:
    for token in ("", eva):
        answer = server.ask("/ana/hidden/resolve/main/config.json", token)
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound")


def test_a_gated_file_is_for_those_who_were_let_in(server: Server, eva: str) -> None:
    with server.hub.database.writing() as session:
        ids = [repo.id for repo in session.scalars(select(Repo).where(Repo.key == "ana/qa"))]
        session.get_one(Repo, ids[0]).gated = "manual"
    try:
        for path in ("resolve/main/config.json", "raw/main/config.json"):
            answer = server.ask(f"/ana/qa/{path}", eva)
            assert (answer.status, answer.headers["x-error-code"]) == (403, "GatedRepo")
        assert server.ask("/api/models/ana/qa/tree/main", eva).status == 200
    finally:
        with server.hub.database.writing() as session:
            session.get_one(Repo, ids[0]).gated = ""


@pytest.mark.parametrize(
    ("path", "how", "kind"),
    [
        ("config.json", "inline", "application/json"),
        ("notes.txt", "inline", "text/plain; charset=utf-8"),
        ("notes.txt?download=true", "attachment", "text/plain; charset=utf-8"),
        ("page.html", "attachment", "application/octet-stream"),
        ("model.safetensors", "attachment", "application/octet-stream"),
        ("sub/%C3%B1and%C3%BA%20%5B1%5D%20%22x%22.svg", "attachment", "application/octet-stream"),
    ],
)
def test_no_browser_runs_what_is_in_a_repository(server: Server, path: str, how: str, kind: str) -> None:
    answer = get(server, path)
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith(f"{how}; filename*=UTF-8''")
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_name_is_told_in_full_and_in_ascii(server: Server) -> None:
    answer = get(server, "sub/%C3%B1and%C3%BA%20%5B1%5D%20%22x%22.svg")
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''%C3%B1and%C3%BA%20%5B1%5D%20%22x%22.svg; "
        'filename="_and_ [1] _x_.svg";'
    )


def test_raw_gives_what_git_keeps(server: Server) -> None:
    pointer = write_pointer(SHA256, len(LARGE))
    answer = server.ask("/ana/qa/raw/main/model.safetensors")
    assert (answer.status, answer.body) == (200, pointer)
    assert answer.headers["etag"] == f'"{object_id(Kind.BLOB, pointer).hex()}"'


def test_a_blob_that_the_repository_may_not_reach_is_not_given(server: Server) -> None:
    with server.hub.database.writing() as session:
        repo_id = session.scalars(select(Repo).where(Repo.key == "ana/hidden")).one().id
        session.execute(delete(RepoBlob).where(RepoBlob.repo_id == repo_id))
    with server.hub.database.writing() as session:
        session.get_one(Repo, repo_id).visibility = "public"
    answer = get(server, "model.safetensors", "ana/hidden")
    assert (answer.status, answer.headers["x-error-code"]) == (404, "EntryNotFound")
    assert get(server, "config.json", "ana/hidden").status == 200


def test_downloads_are_counted_once_for_each_client(server: ContentServer, eva: str) -> None:
    def counted() -> Any:
        server.downloads.write()
        return server.ask("/api/datasets/eva/taken").json["downloads"]

    server.make(eva, "taken", type="dataset")
    url = "/datasets/eva/taken/resolve/main/.gitattributes"
    assert server.ask(url, method="HEAD").status == 200
    assert server.ask(f"{url}x").status == 404
    assert counted() == 0
    for token in ("", "", eva, eva):
        assert server.ask(url, token).status == 200
    assert counted() == 2


def test_content_that_is_lost_is_an_error_and_no_broken_answer(server: ContentServer, eva: str) -> None:
    server.make(eva, "lost")
    sha256 = upload(server, "eva/lost", b"\0lost")
    server.commit(eva, "eva/lost", **{"lost.bin": write_pointer(sha256, 5)})
    assert server.ask("/eva/lost/resolve/main/lost.bin").body == b"\0lost"
    server.hub.blobs.delete(sha256)
    answer = server.ask("/eva/lost/resolve/main/lost.bin")
    assert answer.status == 404
    assert sha256 in answer.json["error"]


def test_reading_stops_when_the_client_leaves() -> None:
    read: list[int] = []

    def pieces() -> Iterator[bytes]:
        try:
            for number in range(100):
                read.append(number)
                yield b"x"
        finally:
            read.append(-1)

    async def visit() -> None:
        left = asyncio.Event()

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                left.set()
                await asyncio.Event().wait()  # a connection that takes no more

        await Pieces(pieces(), status_code=200, headers={})({"type": "http"}, receive, send)

    asyncio.run(visit())
    assert read == [0, -1]
