"""The addresses that Xet clients write to: who gets a token, what it is good for, what is answered."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from asking import Answer
from hub_app import Server
from hub_contents import serving
from lanza.auth.records import Account
from lanza.hub.api import xet
from lanza.hub.records import Repo, RepoBlob
from lanza.hub.xet import store
from xet_files import file, shard, xorb

CONTENT = random.Random(5).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME, XORB = xorb([CONTENT])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as made:
        yield made


@pytest.fixture
def ana(server: Server) -> str:
    token = server.user("ana")
    server.make(token, "becas")
    return token


@dataclass(frozen=True, kw_only=True)
class Client:
    """One that has been let write to a repository."""

    server: Server
    base: str
    token: str

    def post(self, path: str, body: bytes = b"", *, token: str | None = None, base: str = "") -> Answer:
        given = self.token if token is None else token
        return self.server.ask(f"{base or self.base}{path}", given, method="POST", body=body)

    def send(self) -> Answer:
        sent = self.post(f"/v1/xorbs/default/{NAME}", XORB)
        assert sent.status == 200, sent.text
        return self.post("/v1/shards", shard(file(CONTENT, [(NAME, 0, 1, len(CONTENT))])))


def let_write(server: Server, token: str, repo: str = "ana/becas", revision: str = "main") -> Client:
    answer = server.ask(f"/api/models/{repo}/xet-write-token/{revision}", token)
    assert answer.status == 200, answer.text
    assert answer.json == {
        "casUrl": answer.headers["x-xet-cas-url"],
        "accessToken": answer.headers["x-xet-access-token"],
        "exp": int(answer.headers["x-xet-token-expiration"]),
    }
    base = answer.json["casUrl"].removeprefix("http://hub.test:8420")
    return Client(server=server, base=base, token=answer.json["accessToken"])


def account_id(server: Server, name: str) -> int:
    with server.hub.database.reading() as session:
        return session.scalars(select(Account.id).where(Account.key == name)).one()


def reaches(server: Server, repo: str) -> bool:
    with server.hub.database.reading() as session:
        joined = select(RepoBlob.sha256).join(Repo, Repo.id == RepoBlob.repo_id)
        return session.scalars(joined.where(Repo.key == repo)).all() == [SHA256]


@pytest.mark.parametrize("version", ["/v1", ""])
def test_chunks_become_a_file_of_the_repository(server: Server, ana: str, version: str) -> None:
    client = let_write(server, ana)
    sent = client.post(f"{version}/xorbs/default/{NAME}", XORB)
    assert (sent.status, sent.json) == (200, {"was_inserted": True})
    again = client.post(f"{version}/xorbs/default/{NAME}", XORB)
    assert (again.status, again.json) == (200, {"was_inserted": False})
    made = client.post(f"{version}/shards", shard(file(CONTENT, [(NAME, 0, 1, len(CONTENT))])))
    assert (made.status, made.json) == (200, {"result": 1})
    assert reaches(server, "ana/becas")
    assert b"".join(server.hub.blobs.read(SHA256)) == CONTENT


def test_a_branch_with_a_slash_is_one_part_of_the_address(server: Server, ana: str) -> None:
    assert let_write(server, ana, revision="feature%2Fx").send().status == 200


def test_only_who_may_write_gets_a_token(server: Server, ana: str) -> None:
    server.make(ana, "hidden", private=True)
    eva = server.user("eva")
    path = "/api/models/ana/becas/xet-write-token/main"
    assert server.ask(path).status == 401
    assert server.ask(path, eva).status == 403
    for name in ("hidden", "absent"):
        answer = server.ask(f"/api/models/ana/{name}/xet-write-token/main", eva)
        assert (answer.status, answer.headers["x-error-code"]) == (404, "RepoNotFound")


def test_there_are_no_pull_requests(server: Server, ana: str) -> None:
    answer = server.ask("/api/models/ana/becas/xet-write-token/main?create_pr=1", ana)
    assert answer.status == 400
    assert "pull requests" in answer.json["error"]


def test_another_token_opens_nothing(server: Server, ana: str) -> None:
    client = let_write(server, ana)
    for token in ("", ana, client.token[:-1], "x"):
        assert client.post(f"/v1/xorbs/default/{NAME}", XORB, token=token).status == 401
        assert client.post("/v1/shards", shard(), token=token).status == 401


def test_a_token_is_good_for_its_own_store(server: Server, ana: str) -> None:
    eva = server.user("eva")
    server.make(eva, "becas")
    first, second = let_write(server, ana), let_write(server, eva, "eva/becas")
    assert first.base != second.base
    answer = first.post(f"/v1/xorbs/default/{NAME}", XORB, base=second.base)
    assert (answer.status, "another store" in answer.json["error"]) == (403, True)


def test_a_store_that_has_begun_afresh_says_so(server: Server, ana: str) -> None:
    client = let_write(server, ana)
    store.start_afresh(server.hub, account_id(server, "ana"))
    answer = client.post(f"/v1/xorbs/default/{NAME}", XORB)
    assert (answer.status, "run the upload again" in answer.json["error"]) == (409, True)
    assert let_write(server, ana).send().status == 200


def test_chunks_of_another_account_are_not_there(server: Server, ana: str) -> None:
    let_write(server, ana).send()
    eva = server.user("eva")
    server.make(eva, "becas")
    made = shard(file(CONTENT, [(NAME, 0, 1, len(CONTENT))]))
    answer = let_write(server, eva, "eva/becas").post("/v1/shards", made)
    assert answer.status == 400
    assert not reaches(server, "eva/becas")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/v1/xorbs/default/{NAME}", XORB[:-1], 400),
        (f"/v1/xorbs/default/{NAME}", b"", 400),
        (f"/v1/xorbs/default/{'0' * 64}", XORB, 400),
        ("/v1/xorbs/default/..%2F..%2Fpasswd", XORB, 400),
        ("/v1/xorbs/default/abc", XORB, 400),
        ("/v1/shards", b"", 400),
        ("/v1/shards", b"nonsense" * 20, 400),
        ("/v1/shards", shard(file(CONTENT, [("0" * 64, 0, 1, 5)])), 400),
        ("/v2/shards", b"", 404),
        (f"/v1/xorb-grants/default/{NAME}", b"", 404),
        ("/v1/telemetry", b"{}", 200),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    server: Server, ana: str, path: str, body: bytes, status: int
) -> None:
    assert let_write(server, ana).post(path, body).status == status
    assert not list(server.hub.blobs.all())
    assert not [path for path in (server.hub.blobs.staging / "xorbs").rglob("*") if path.is_file()]


def test_no_chunk_is_known_beforehand(server: Server, ana: str) -> None:
    client = let_write(server, ana)
    assert server.ask(f"{client.base}/v1/chunks/default-merkledb/{NAME}", client.token).status == 404


def test_bodies_are_bounded(server: Server, ana: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = let_write(server, ana)
    monkeypatch.setattr(xet, "MOST_XORB", 1000)
    monkeypatch.setattr(xet, "MOST_SHARD", 100)
    assert client.post(f"/v1/xorbs/default/{NAME}", XORB).status == 413
    assert client.post("/v1/shards", shard(file(CONTENT, []))).status == 413
