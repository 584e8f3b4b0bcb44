"""What pushes are refused for where somebody asked for it: over the API, on a real server with real git."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from asking import Answer
from hub_app import Server
from hub_contents import serving, upload
from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.hub import policy
from pushes import Push


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


EVIL = pickle.dumps(Evil())
SECRET = ("TOKEN = 'hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567'\n").encode()
DAMAGED = b"\x08\0\0\0\0\0\0\0{notjson"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that refuses nothing by itself."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def ana(server: Server) -> str:
    return server.user("ana")


@pytest.fixture
def repo(server: Server, ana: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = "r" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    server.make(ana, name)
    yield f"ana/{name}"
    refuse(server, ana)


def refuse(server: Server, token: str, *kinds: str, namespace: str = "ana") -> Answer:
    path = f"/api/lanza/namespaces/{namespace}/policy"
    return server.ask(path, token, method="PUT", body={"refuse": list(kinds)})


def push(server: Server, token: str, repo: str, to: str = "main", /, **more: object) -> Answer:
    body = Push(title="Change", **more).body  # type: ignore[arg-type]
    return server.ask(f"/api/models/{repo}/commit/{to}", token, method="POST", body=body)


def head(server: Server, repo: str) -> str:
    oid: str = server.ask(f"/api/models/{repo}").json["sha"]
    return oid


def test_nothing_is_refused_by_itself(server: Server, ana: str, repo: str) -> None:
    files = {"evil.pkl": EVIL, "config.py": SECRET, "w.safetensors": DAMAGED}
    assert push(server, ana, repo, small=files).status == 200


@pytest.mark.parametrize(
    ("kind", "path", "content", "said"),
    [
        ("pickle", "sub/evil.pkl", EVIL, "sub/evil.pkl: it would run posix.system when loaded"),
        ("secret", "config.py", SECRET, "config.py: line 1 seems to hold a Hugging Face token: revoke it"),
        ("safetensors", "w.safetensors", DAMAGED, "w.safetensors: it is damaged"),
    ],
)
def test_a_kind_that_the_namespace_refuses(
    server: Server, ana: str, repo: str, kind: str, path: str, content: bytes, said: str
) -> None:
    assert refuse(server, ana, kind).json["refuse"] == [kind]
    before = head(server, repo)
    refused = push(server, ana, repo, small={path: content, "fine.txt": b"fine"})
    assert refused.status == 400
    message = refused.headers["x-error-message"]
    assert said in message
    assert "nothing was committed" in message
    assert f"ana refuses {kind}: `lanza policy ana` changes that" in message
    assert head(server, repo) == before
    others = {"evil.pkl": EVIL, "config.py": SECRET, "w.safetensors": DAMAGED}
    del others[Path(path).name]
    assert push(server, ana, repo, small=others).status == 200


def test_a_large_file_is_looked_at_too_and_stays_for_the_next_push(
    server: Server, ana: str, repo: str
) -> None:
    refuse(server, ana, "pickle")
    upload(server, repo, EVIL)
    assert "evil.bin: it would run" in push(server, ana, repo, large={"evil.bin": EVIL}).text
    refuse(server, ana)
    assert push(server, ana, repo, large={"evil.bin": EVIL}).status == 200


def test_what_is_there_already_blocks_no_other_commit(server: Server, ana: str, repo: str) -> None:
    assert push(server, ana, repo, small={"evil.pkl": EVIL}).status == 200
    refuse(server, ana, "pickle", "secret")
    assert push(server, ana, repo, small={"README.md": b"# Hola"}).status == 200
    assert push(server, ana, repo, small={"evil.pkl": EVIL, "b.txt": b"b"}).status == 200
    assert push(server, ana, repo, small={"other.pkl": EVIL}).status == 400
    assert push(server, ana, repo, small={"evil.pkl": EVIL + b"."}).status == 400


def test_a_file_that_the_same_commit_removes_again_counts_for_nothing(
    server: Server, ana: str, repo: str
) -> None:
    refuse(server, ana, "pickle")
    body = Push(title="t", small={"evil.pkl": EVIL}).body
    body += b'\n{"key": "deletedFile", "value": {"path": "evil.pkl"}}'
    answer = server.ask(f"/api/models/{repo}/commit/main", ana, method="POST", body=body)
    assert answer.status == 200, answer.text


def test_many_findings_are_counted(server: Server, ana: str, repo: str) -> None:
    refuse(server, ana, "pickle")
    answer = push(server, ana, repo, small={f"{number}.pkl": EVIL for number in range(8)})
    assert answer.text.count("it would run") == policy.MOST_NAMED
    assert "And 3 more." in answer.text


def test_what_there_was_no_time_to_look_at_is_refused(
    server: Server, ana: str, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(server, ana, "secret")
    monkeypatch.setattr(policy, "SECONDS", -1.0)
    answer = push(server, ana, repo, small={"a.txt": b"a"})
    assert answer.status == 400
    assert "a.txt: from this file on, there was no time to look: push fewer files" in answer.text


def test_a_copy_of_what_the_repository_has_is_judged_as_what_it_is(
    server: Server, ana: str, repo: str
) -> None:
    assert push(server, ana, repo, small={"evil.txt": EVIL}).status == 200
    refuse(server, ana, "pickle")
    assert push(server, ana, repo, small={"evil.pkl": EVIL}).status == 400


def test_the_policy_of_a_namespace_is_its_owners(server: Server, ana: str) -> None:
    eva = server.user("eva")
    for token, status in ((eva, 403), ("", 401)):
        assert refuse(server, token, "pickle").status == status
        assert server.ask("/api/lanza/namespaces/ana/policy", token).status == status
    wrong = refuse(server, ana, "virus")
    assert wrong.status == 400
    assert "pickle, safetensors, secret: not virus" in wrong.text
    assert refuse(server, ana, namespace="nobody").status == 403


def test_a_member_reads_it_and_an_administrator_of_the_organization_sets_it(server: Server) -> None:
    roles = {"leo": "admin", "mia": "write"}
    with server.hub.database.writing() as session:
        users = {name: accounts.create_user(session, name) for name in roles}
        org = accounts.create_org(session, "lab", owner=users["leo"])
        accounts.set_member(session, org, users["mia"], "write")
        given = {
            name: tokens.issue(session, user, name="t", role=Role.WRITE)[1] for name, user in users.items()
        }
        reader = tokens.issue(session, users["leo"], name="r", role=Role.READ)[1]
    assert refuse(server, given["leo"], "secret", namespace="lab").status == 200
    assert refuse(server, given["mia"], namespace="lab").status == 403
    assert refuse(server, reader, namespace="lab").status == 403
    shown = server.ask("/api/lanza/namespaces/lab/policy", given["mia"]).json
    assert shown == {"namespace": "lab", "refuse": ["secret"], "refused_by_server": []}


def test_what_the_server_refuses_no_namespace_lets_in(tmp_path: Path) -> None:
    with serving(tmp_path, refused=frozenset({"pickle"})) as server:
        ana = server.user("ana")
        server.make(ana, "becas")
        assert refuse(server, ana).json["refused_by_server"] == ["pickle"]
        answer = push(server, ana, "ana/becas", small={"evil.pkl": EVIL})
        assert answer.status == 400
        assert "This server refuses pickle: ask its administrator" in answer.text
        assert push(server, ana, "ana/becas", small={"config.py": SECRET}).status == 200
