"""Commits over the API, on a real server with real git and a real blob store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from asking import Answer
from hub_app import Server
from hub_contents import serving, upload
from lanza.auth.principal import Principal, Role
from lanza.errors import LanzaError
from lanza.hub import commits
from lanza.hub.commits import Header
from lanza.hub.git import GitRepo
from lanza.hub.hub import HubLimits
from lanza.hub.names import Kind, RepoName
from lanza.hub.objects import write_pointer
from lanza.hub.patterns import Attributes
from lanza.hub.records import Repo
from lanza.hub.trees import Put

LARGE = b"\0weights\0" * 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hub"), limits=HubLimits(regular_bytes=10_000)) as made:
        yield made


@pytest.fixture(scope="module")
def ana(server: Server) -> str:
    return server.user("ana")


@pytest.fixture(scope="module")
def eva(server: Server) -> str:
    return server.user("eva")


@pytest.fixture
def repo(server: Server, ana: str, request: pytest.FixtureRequest) -> str:
    name = "r" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    server.make(ana, name)
    return f"ana/{name}"


def file(path: str, content: bytes) -> Any:
    value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    return {"key": "file", "value": value}


def large(path: str, sha256: str, size: int | None = None) -> Any:
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256, "size": size}}


def gone(path: str) -> Any:
    return {"key": "deletedFolder" if path.endswith("/") else "deletedFile", "value": {"path": path}}


def send(server: Server, token: str, repo: str, *lines: Any, to: str = "main", **header: Any) -> Answer:
    begin = {"key": "header", "value": {"summary": "Change", "description": "", **header}}
    body = "\n".join(map(json.dumps, (begin, *lines))).encode()
    return server.ask(f"/api/models/{repo}/commit/{to}", token, method="POST", body=body)


def done(answer: Answer) -> str:
    """The commit that was made."""
    assert answer.status == 200, answer.text
    oid: str = answer.json["commitOid"]
    return oid


def git_of(server: Server, repo: str) -> GitRepo:
    with server.hub.database.reading() as session:
        return server.hub.git.open(session.scalars(select(Repo).where(Repo.key == repo)).one().id)


def paths(server: Server, repo: str, revision: str = "main") -> set[str]:
    git = git_of(server, repo)
    entries = git.entries(git.resolve(revision), recursive=True)
    return {entry.path for entry in entries if entry.kind == "file"}


def read(server: Server, repo: str, path: str) -> bytes:
    return server.ask(f"/{repo}/raw/main/{path}").body


def test_a_commit_brings_small_and_large_files(server: Server, ana: str, repo: str) -> None:
    sha256 = upload(server, repo, LARGE)
    answer = send(
        server, ana, repo, file("a/b.txt", b"hello"), large("w.bin", sha256, len(LARGE)), description="Why"
    )
    oid = done(answer)
    assert answer.json["commitUrl"] == f"http://hub.test:8420/{repo}/commit/{oid}"
    assert paths(server, repo) == {".gitattributes", "a/b.txt", "w.bin"}
    made = git_of(server, repo).resolve("main")
    assert (made.oid, made.title, made.message, made.author) == (oid, "Change", "Why", "ana")
    assert read(server, repo, "w.bin") == write_pointer(sha256, len(LARGE))


def test_files_and_folders_are_deleted_in_the_order_of_the_lines(server: Server, ana: str, repo: str) -> None:
    done(send(server, ana, repo, file("old/a", b"1"), file("old/b", b"2"), file("c", b"3")))
    done(send(server, ana, repo, gone("old/"), file("old/new", b"4"), gone("c")))
    assert paths(server, repo) == {".gitattributes", "old/new"}


def test_a_repeated_commit_makes_no_twin(server: Server, ana: str, repo: str) -> None:
    first = done(send(server, ana, repo, file("a", b"1")))
    sha256 = upload(server, repo, LARGE)
    lines = [file("b", b"2"), large("w.odd", sha256), gone("a")]
    made = done(send(server, ana, repo, *lines, parentCommit=first))
    assert done(send(server, ana, repo, *lines, parentCommit=first)) == made
    assert done(send(server, ana, repo, *lines)) == made
    assert len(git_of(server, repo).log(git_of(server, repo).resolve("main"), skip=0, limit=10)) == 3


def test_a_parent_that_is_not_the_head_any_more_is_refused(server: Server, ana: str, repo: str) -> None:
    first = done(send(server, ana, repo, file("a", b"1")))
    second = done(send(server, ana, repo, file("a", b"2"), parentCommit=first[:10]))
    answer = send(server, ana, repo, file("a", b"3"), parentCommit=first)
    assert answer.status == 412
    assert answer.headers["x-error-message"].startswith("A commit has happened since.")
    assert git_of(server, repo).resolve("main").oid == second
    # Nor is it taken for a repetition when only the message is the same.
    assert send(server, ana, repo, file("b", b"2"), parentCommit=first).status == 412


def test_what_is_not_there_cannot_be_deleted(server: Server, ana: str, repo: str) -> None:
    done(send(server, ana, repo, file("a", b"1")))
    for path in ("missing.txt", "missing/"):
        answer = send(server, ana, repo, gone(path))
        assert (answer.status, answer.headers["x-error-code"]) == (404, "EntryNotFound")


def test_a_large_file_that_was_not_uploaded_is_named(server: Server, ana: str, repo: str) -> None:
    answer = send(server, ana, repo, file("a", b"1"), large("w.bin", "ab" * 32, 5))
    assert answer.status == 400
    assert "'w.bin'" in answer.json["error"]
    assert paths(server, repo) == {".gitattributes"}


def test_a_lying_size_is_refused(server: Server, ana: str, repo: str) -> None:
    sha256 = upload(server, repo, LARGE)
    assert send(server, ana, repo, large("w.bin", sha256, len(LARGE) + 1)).status == 400
    done(send(server, ana, repo, large("w.bin", sha256)))


def test_nobody_reaches_a_blob_of_others_by_its_name(server: Server, ana: str, eva: str, repo: str) -> None:
    sha256 = upload(server, repo, b"\0secret\0" * 100)
    server.make(eva, "thief")
    assert send(server, eva, "eva/thief", large("w.bin", sha256, 800)).status == 400
    pointer = write_pointer(sha256, 800)
    assert send(server, eva, "eva/thief", file("w.bin", pointer)).status == 400
    assert send(server, ana, repo, file("w.bin", pointer)).status == 200
    assert server.ask(f"/{repo}/resolve/main/w.bin").body == b"\0secret\0" * 100


def test_large_files_are_in_gitattributes(server: Server, ana: str, repo: str) -> None:
    sha256 = upload(server, repo, LARGE)
    before = read(server, repo, ".gitattributes")
    done(send(server, ana, repo, large("sub/w.bin", sha256)))
    assert read(server, repo, ".gitattributes") == before
    done(send(server, ana, repo, large("tokenizer.json", sha256), large("my data.txt", sha256)))
    after = read(server, repo, ".gitattributes")
    assert after.startswith(before)
    rules = Attributes(after.decode())
    assert rules.large("tokenizer.json")
    assert rules.large("my data.txt")
    assert not rules.large("config.json")
    mine = b"*.txt text\n\xff\n"
    done(send(server, ana, repo, file(".gitattributes", mine), large("x.dat", sha256)))
    assert read(server, repo, ".gitattributes").startswith(mine + b"/x.dat filter=lfs")


def test_a_commit_goes_to_the_branch_that_is_named(server: Server, ana: str, repo: str) -> None:
    git = git_of(server, repo)
    git.create_branch("dev/one", "main")
    done(send(server, ana, repo, file("a", b"1"), to="dev%2Fone"))
    done(send(server, ana, repo, file("b", b"1"), to="refs%2Fheads%2Fdev%2Fone"))
    assert paths(server, repo, "dev/one") == {".gitattributes", "a", "b"}
    assert paths(server, repo) == {".gitattributes"}
    for missing in ("nowhere", git.resolve("main").oid):
        answer = send(server, ana, repo, file("a", b"1"), to=missing)
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RevisionNotFound")


def test_there_are_no_pull_requests(server: Server, ana: str, repo: str) -> None:
    for to in ("main?create_pr=1", "refs%2Fpr%2F1"):
        answer = send(server, ana, repo, file("a", b"1"), to=to)
        assert answer.status == 400
        assert "pull requests" in answer.json["error"]


def test_only_who_may_write_commits(server: Server, ana: str, eva: str, repo: str) -> None:
    server.make(ana, "hidden", private=True)
    assert send(server, eva, repo, file("a", b"1")).status == 403
    assert send(server, "", repo, file("a", b"1")).status == 401
    for token in (eva, ""):
        answer = send(server, token, "ana/hidden", file("a", b"1"))
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound")
    assert paths(server, repo) == {".gitattributes"}


def test_a_file_and_a_folder_cannot_have_one_name(server: Server, ana: str, repo: str) -> None:
    done(send(server, ana, repo, file("a", b"1")))
    assert send(server, ana, repo, file("a/b", b"1")).status == 400
    assert paths(server, repo) == {".gitattributes", "a"}


def test_a_namespace_that_is_full_takes_no_more(tmp_path: Path) -> None:
    limits = HubLimits(account_bytes=20_000)
    with serving(tmp_path / "full", limits=limits) as server:
        ana = server.user("ana")
        server.make(ana, "qa")
        assert send(server, ana, "ana/qa", file("a", Random(1).randbytes(15_000))).status == 200
        answer = send(server, ana, "ana/qa", file("b", Random(2).randbytes(15_000)))
        assert answer.status == 403
        assert "20,000" in answer.json["error"]
        sha256 = upload(server, "ana/qa", LARGE * 2)
        assert send(server, ana, "ana/qa", large("w.bin", sha256)).status == 403


def test_a_commit_is_in_the_record(server: Server, ana: str, repo: str) -> None:
    oid = done(send(server, ana, repo, file("README.md", b"---\nlicense: mit\n---\n# Hi")))
    info = server.ask(f"/api/models/{repo}").json
    assert info["sha"] == oid
    assert "license:mit" in info["tags"]


def test_a_dataset_takes_commits_too(server: Server, ana: str) -> None:
    server.make(ana, "data", type="dataset")
    body = json.dumps({"key": "header", "value": {"summary": "x"}}).encode()
    body += b"\n" + json.dumps(file("a.csv", b"1,2")).encode()
    answer = server.ask("/api/datasets/ana/data/commit/main", ana, method="POST", body=body)
    assert answer.json["commitUrl"].startswith("http://hub.test:8420/datasets/ana/data/commit/")


def at_once(server: Server, repo: str, count: int, *, parent: str | None) -> list[str | int]:
    """So many commits from as many threads: the commit that each made, or the status that it got."""
    owner = Principal(name="ana", account_id=1, role=Role.WRITE, memberships={"ana": "admin"})
    name = RepoName(Kind.MODEL, *repo.split("/"))

    def one(number: int) -> str | int:
        header = Header(title=f"Change {number}", parent=parent)
        change = Put(path=f"{number}.txt", content=b"x")
        try:
            return commits.apply(server.hub, owner, name, "main", header, [change]).oid
        except LanzaError as error:
            return error.status

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def test_of_commits_on_one_parent_one_wins(server: Server, ana: str, repo: str) -> None:
    head = git_of(server, repo).resolve("main").oid
    results = at_once(server, repo, 6, parent=head)
    winner = git_of(server, repo).resolve("main")
    assert (winner.parents, results.count(winner.oid)) == ((head,), 1)
    assert {result for result in results if result != winner.oid} <= {409, 412}


def test_commits_that_name_no_parent_are_put_on_top_of_each_other(
    server: Server, ana: str, repo: str
) -> None:
    results = at_once(server, repo, 6, parent=None)
    git = git_of(server, repo)
    history = [commit.oid for commit in git.log(git.resolve("main"), skip=0, limit=10)]
    assert sorted(map(str, results)) == sorted(history[:6])
    assert paths(server, repo) == {".gitattributes", *(f"{number}.txt" for number in range(6))}
