"""git-lfs' protocol: who has to send which bytes, and what becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from asking import Answer
from hub_app import Server
from hub_contents import serving, upload
from lanza.auth.records import Account
from lanza.errors import NotFound
from lanza.hub import multipart
from lanza.hub.records import Multipart, Repo, RepoBlob

CONTENT = random.Random(4).randbytes(250_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BATCH = ".git/info/lfs/objects/batch"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as made:
        yield made


@pytest.fixture
def ana(server: Server) -> str:
    """Ana's token. She has a public and a private model."""
    token = server.user("ana")
    server.make(token, "becas")
    server.make(token, "hidden", private=True)
    return token


def batch(
    server: Server,
    token: str,
    repo: str = "ana/becas",
    *,
    operation: str = "upload",
    sha256: str = SHA256,
    size: int = len(CONTENT),
    suffix: str = BATCH,
    **more: Any,
) -> Answer:
    body = {"operation": operation, "objects": [{"oid": sha256, "size": size}], "hash_algo": "sha256", **more}
    return server.ask(f"/{repo}{suffix}", token, method="POST", body=body)


def actions(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.text
    found: dict[str, Any] = answer.json["objects"][0].get("actions", {})
    return found


def put(server: Server, href: str, content: bytes, **headers: str) -> Answer:
    return server.ask(href.removeprefix("http://hub.test:8420"), method="PUT", body=content, **headers)


def post(server: Server, href: str, body: Any) -> Answer:
    return server.ask(href.removeprefix("http://hub.test:8420"), method="POST", body=body)


def reached(server: Server, repo: str = "ana/becas", sha256: str = SHA256) -> bool:
    with server.hub.database.reading() as session:
        found = session.scalar(
            select(func.count())
            .select_from(RepoBlob)
            .join(Repo, Repo.id == RepoBlob.repo_id)
            .where(Repo.key == repo, RepoBlob.sha256 == sha256)
        )
    return bool(found)


def send(server: Server, token: str, repo: str = "ana/becas") -> None:
    assert put(server, actions(batch(server, token, repo))["upload"]["href"], CONTENT).status == 200


@pytest.mark.parametrize("suffix", [BATCH, BATCH.removeprefix(".git")])
def test_a_file_is_sent_to_a_signed_url_without_a_token(server: Server, ana: str, suffix: str) -> None:
    answer = batch(server, ana, suffix=suffix)
    assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    assert answer.json["transfer"] == "basic"
    given = actions(answer)
    assert put(server, given["upload"]["href"], CONTENT).status == 200
    assert reached(server)
    assert post(server, given["verify"]["href"], {"oid": SHA256, "size": len(CONTENT)}).status == 200
    assert b"".join(server.hub.blobs.read(SHA256)) == CONTENT


def test_a_file_that_the_repository_has_is_not_asked_for(server: Server, ana: str) -> None:
    send(server, ana)
    assert actions(batch(server, ana)) == {}


def test_a_file_of_another_repository_that_the_caller_may_read_is_not_asked_for(
    server: Server, ana: str
) -> None:
    send(server, ana, "ana/hidden")
    assert actions(batch(server, ana, "ana/becas")) == {}
    assert reached(server, "ana/becas")


def test_knowing_a_hash_is_no_right_to_its_bytes(server: Server, ana: str) -> None:
    send(server, ana, "ana/hidden")
    eva = server.user("eva")
    server.make(eva, "copy")
    given = actions(batch(server, eva, "eva/copy"))
    assert given["upload"]
    assert put(server, given["upload"]["href"], b"x" * len(CONTENT)).status == 400
    assert not reached(server, "eva/copy")
    assert actions(batch(server, eva, "eva/copy", operation="download")) == {}
    assert put(server, given["upload"]["href"], CONTENT).status == 200
    assert reached(server, "eva/copy")


def test_a_gated_repository_lends_its_files_only_to_who_was_let_in(server: Server, ana: str) -> None:
    send(server, ana)
    with server.hub.database.writing() as session:
        session.execute(update(Repo).values(gated="manual"))
    eva = server.user("eva")
    server.make(eva, "copy")
    assert "upload" in actions(batch(server, eva, "eva/copy"))
    server.make(ana, "mine")
    assert actions(batch(server, ana, "ana/mine")) == {}


def test_a_file_that_was_lost_is_asked_for_again(server: Server, ana: str) -> None:
    send(server, ana)
    server.hub.blobs.delete(SHA256)
    send(server, ana)
    assert server.hub.blobs.has(SHA256)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[:-1] + b"x", "has the SHA-256"),
        (CONTENT[:-1], "249,999 bytes came"),
        (CONTENT + b"x", "more came"),
    ],
)
def test_bytes_that_are_not_those_that_were_said_are_refused(
    server: Server, ana: str, content: bytes, reason: str
) -> None:
    answer = put(server, actions(batch(server, ana))["upload"]["href"], content)
    assert answer.status == 400
    assert reason in answer.json["message"]
    assert not reached(server)
    assert not list(server.hub.blobs.all())


def test_a_body_of_another_length_is_refused_before_it_comes(server: Server, ana: str) -> None:
    href = actions(batch(server, ana))["upload"]["href"]
    answer = put(server, href, CONTENT, **{"Content-Length": "7"})
    assert answer.status == 400
    assert "7 are being sent" in answer.json["message"]


def test_a_signature_is_good_for_one_file_and_one_use(server: Server, ana: str) -> None:
    given = actions(batch(server, ana))
    other = given["upload"]["href"].replace(SHA256, "0" * 64)
    assert put(server, other, CONTENT).status == 401
    assert put(server, given["upload"]["href"] + "x", CONTENT).status == 401
    assert put(server, given["upload"]["href"].partition("?")[0], CONTENT).status == 401
    assert server.ask(given["upload"]["href"].removeprefix("http://hub.test:8420")).status == 401
    assert put(server, given["verify"]["href"].replace("verify", f"objects/{SHA256}"), CONTENT).status == 401


def test_verify_says_what_has_not_come(server: Server, ana: str) -> None:
    href = actions(batch(server, ana))["verify"]["href"]
    assert post(server, href, {"oid": SHA256, "size": len(CONTENT)}).status == 404
    send(server, ana)
    assert post(server, href, {"oid": SHA256, "size": 1}).status == 400


def test_a_file_comes_back_whole_and_in_ranges(server: Server, ana: str) -> None:
    send(server, ana)
    given = actions(batch(server, ana, operation="download"))
    href = given["download"]["href"].removeprefix("http://hub.test:8420")
    whole = server.ask(href)
    assert (whole.status, whole.body) == (200, CONTENT)
    part = server.ask(href, Range="bytes=249990-")
    assert (part.status, part.body) == (206, CONTENT[-10:])
    assert part.headers["content-range"] == "bytes 249990-249999/250000"
    assert server.ask(href, Range="bytes=250000-").status == 416
    assert server.ask(href, **{"If-None-Match": f'"{SHA256}"'}).status == 304
    head = server.ask(href, method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "250000", b"")


def test_a_missing_file_is_an_error_of_its_own_in_a_batch(server: Server, ana: str) -> None:
    answer = batch(server, ana, operation="download")
    assert answer.status == 200
    assert answer.json["objects"][0]["error"]["code"] == 404


def test_who_sends_no_token_is_asked_for_one(server: Server, ana: str) -> None:
    for repo in ("ana/becas", "ana/hidden", "ana/absent"):
        answer = batch(server, "", repo)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    send(server, ana)
    assert "download" in actions(batch(server, "", operation="download"))


def test_who_may_not_write_is_told_so_and_what_is_private_looks_absent(server: Server, ana: str) -> None:
    eva = server.user("eva")
    assert batch(server, eva, "ana/becas").status == 403
    hidden = batch(server, eva, "ana/hidden", operation="download")
    assert (hidden.status, hidden.headers["x-error-code"]) == (404, "RepoNotFound")


@pytest.mark.parametrize(
    "more",
    [
        {"sha256": "abc"},
        {"sha256": SHA256.upper()},
        {"sha256": "../../../../etc/passwd"},
        {"size": -1},
        {"size": 2**63},
        {"size": "many"},
        {"operation": "delete"},
        {"hash_algo": "md5"},
        {"objects": 7},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(server: Server, ana: str, more: dict[str, Any]) -> None:
    assert batch(server, ana, **more).status == 400


def test_too_many_files_at_once_are_refused(server: Server, ana: str) -> None:
    objects = [{"oid": SHA256, "size": 1}] * 10_001
    assert batch(server, ana, objects=objects).status == 413


def test_a_namespace_without_room_is_not_asked_to_send(server: Server, ana: str) -> None:
    with server.hub.database.writing() as session:
        session.execute(update(Account).values(quota_bytes=1000))
    answer = batch(server, ana)
    assert answer.status == 403
    assert "1,000 bytes" in answer.json["message"]


def test_locks_are_politely_refused(server: Server, ana: str) -> None:
    for path in ("/ana/becas.git/info/lfs/locks/verify", "/ana/becas.git/info/lfs/locks"):
        answer = server.ask(path, ana, method="POST", body={})
        assert answer.status == 404
        assert "locks" in answer.json["message"]


def test_a_file_that_is_put_twice_is_the_same_file(server: Server, ana: str) -> None:
    given = actions(batch(server, ana))
    for _ in range(2):
        assert put(server, given["upload"]["href"], CONTENT).status == 200
    assert list(server.hub.blobs.all()) == [(SHA256, len(CONTENT))]


def test_a_blob_put_there_by_others_can_be_lent(server: Server, ana: str) -> None:
    sha256 = upload(server, "ana/hidden", b"large")
    assert actions(batch(server, ana, sha256=sha256, size=5)) == {}
    assert batch(server, ana, sha256=sha256, size=6).status == 400


# In parts


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "LARGEST_PIECE", 100_000)
    monkeypatch.setattr(multipart, "PART", 100_000)


@pytest.fixture
def parts(server: Server, ana: str, small_parts: None) -> dict[str, Any]:
    """What a client gets that wants to send a file of three parts."""
    answer = batch(server, ana, transfers=["basic", "multipart"])
    assert answer.json["transfer"] == "multipart"
    given: dict[str, Any] = actions(answer)["upload"]
    assert given["header"]["chunk_size"] == "100000"
    assert sorted(given["header"]) == ["1", "2", "3", "chunk_size"]
    return given


def part(number: int) -> bytes:
    return CONTENT[(number - 1) * 100_000 : number * 100_000]


def complete(server: Server, given: dict[str, Any], *numbers: int, sha256: str = SHA256) -> Answer:
    listed = [{"partNumber": number, "etag": "e"} for number in numbers]
    return post(server, given["href"], {"oid": sha256, "parts": listed})


def test_parts_make_a_file_in_whatever_order_they_come(server: Server, parts: dict[str, Any]) -> None:
    for number in (3, 1, 2):
        answer = put(server, parts["header"][str(number)], part(number))
        assert (answer.status, bool(answer.headers["etag"])) == (200, True)
    assert complete(server, parts, 1, 2, 3).status == 200
    assert b"".join(server.hub.blobs.read(SHA256)) == CONTENT
    assert reached(server)


def test_completing_twice_is_completing_once(server: Server, parts: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], part(number))
    assert complete(server, parts, 1, 2, 3).status == 200
    assert complete(server, parts, 1, 2, 3).status == 200


def test_half_an_upload_in_parts_is_told_what_is_missing_and_keeps_the_rest(
    server: Server, parts: dict[str, Any]
) -> None:
    put(server, parts["header"]["2"], part(2))
    for said in ((2,), (1, 2, 3)):
        answer = complete(server, parts, *said)
        assert answer.status == 400
        assert "these have not come: 1, 3. The others are kept" in answer.json["message"]
    assert not reached(server)
    assert not list(server.hub.blobs.all())
    for number in (1, 3):
        put(server, parts["header"][str(number)], part(number))
    assert complete(server, parts, 1, 2, 3).status == 200
    assert b"".join(server.hub.blobs.read(SHA256)) == CONTENT
    assert not list((server.hub.blobs.staging / "parts").iterdir())


def test_a_part_that_breaks_off_is_missing_though_it_was_there(server: Server, parts: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], part(number))
    assert put(server, parts["header"]["2"], b"half").status == 400
    assert "these have not come: 2. " in complete(server, parts, 1, 2, 3).json["message"]
    put(server, parts["header"]["2"], part(2))
    assert complete(server, parts, 1, 2, 3).status == 200


def test_of_many_missing_parts_the_first_are_named(
    server: Server, ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "LARGEST_PIECE", 1_000)
    monkeypatch.setattr(multipart, "PART", 1_000)
    given = actions(batch(server, ana, transfers=["multipart"]))["upload"]
    message = complete(server, given, 1).json["message"]
    assert " 19, 20 and " in message
    assert len(message) < 300


def test_a_whole_of_wrong_parts_has_to_come_again(server: Server, parts: dict[str, Any]) -> None:
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], bytes(len(part(number))))
    answer = complete(server, parts, 1, 2, 3)
    assert answer.status == 400
    assert "SHA-256" in answer.json["message"]
    assert "these have not come: 1, 2, 3. " in complete(server, parts, 1, 2, 3).json["message"]
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], part(number))
    assert complete(server, parts, 1, 2, 3).status == 200


def test_what_a_crash_left_of_an_upload_is_not_believed(server: Server, parts: dict[str, Any]) -> None:
    path, come = multipart.files_of(server.hub, parts["href"].partition("?")[0].rpartition("/")[2])
    path.parent.mkdir(parents=True)
    come.write_bytes(b"\1\1\1")
    assert "these have not come: 1, 2, 3. " in complete(server, parts, 1, 2, 3).json["message"]
    put(server, parts["header"]["2"], part(2))
    assert "these have not come: 1, 3. " in complete(server, parts, 1, 2, 3).json["message"]


def test_a_part_that_is_still_coming_changes_nothing_of_a_file_that_is_complete(
    server: Server, parts: dict[str, Any]
) -> None:
    upload_id = parts["href"].partition("?")[0].rpartition("/")[2]
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], part(number))

    async def late() -> AsyncIterator[bytes]:
        await asyncio.to_thread(put, server, parts["header"]["1"], part(1))
        assert (await asyncio.to_thread(complete, server, parts, 1, 2, 3)).status == 200
        yield b"x"

    with pytest.raises(NotFound):
        asyncio.run(multipart.receive_part(server.hub, upload_id, 1, late()))
    assert b"".join(server.hub.blobs.read(SHA256)) == CONTENT


def test_knowing_the_hash_of_a_blob_completes_nothing(
    server: Server, parts: dict[str, Any], ana: str
) -> None:
    upload(server, "ana/hidden", CONTENT)
    for number in (1, 2, 3):
        put(server, parts["header"][str(number)], bytes(len(part(number))))
    assert complete(server, parts, 1, 2, 3).status == 400
    assert not reached(server)


@pytest.mark.parametrize(
    ("number", "content"), [(1, part(1)[:-1]), (1, part(1) + b"x"), (3, part(1)), (2, b"")]
)
def test_a_part_of_a_wrong_size_is_refused(
    server: Server, parts: dict[str, Any], number: int, content: bytes
) -> None:
    assert put(server, parts["header"][str(number)], content).status == 400


def test_a_part_too_long_touches_no_other(server: Server, parts: dict[str, Any]) -> None:
    put(server, parts["header"]["2"], part(2))
    put(server, parts["header"]["1"], part(1) + b"XXXX")
    for number in (1, 3):
        put(server, parts["header"][str(number)], part(number))
    assert complete(server, parts, 1, 2, 3).status == 200


def test_signatures_of_parts_are_good_for_one_part(server: Server, parts: dict[str, Any]) -> None:
    assert put(server, parts["header"]["1"].replace("/1?", "/2?"), part(2)).status == 401
    assert put(server, parts["header"]["1"].partition("?")[0], part(1)).status == 401
    assert post(server, parts["href"].partition("?")[0], {"oid": SHA256, "parts": []}).status == 401


def test_an_upload_that_was_begun_goes_on(server: Server, parts: dict[str, Any], ana: str) -> None:
    put(server, parts["header"]["1"], part(1))
    again = actions(batch(server, ana, transfers=["multipart"]))["upload"]
    for number in (2, 3):
        put(server, again["header"][str(number)], part(number))
    assert complete(server, again, 1, 2, 3).status == 200


def test_an_upload_that_is_unknown_has_to_begin_anew(server: Server, parts: dict[str, Any]) -> None:
    with server.hub.database.writing() as session:
        for upload_row in session.scalars(select(Multipart)):
            session.delete(upload_row)
    assert put(server, parts["header"]["1"], part(1)).status == 404
    assert complete(server, parts, 1, 2, 3).status == 404


def test_clients_that_know_no_parts_send_one_piece(server: Server, ana: str, small_parts: None) -> None:
    given = actions(batch(server, ana, transfers=["basic"]))["upload"]
    assert "header" not in given
    assert put(server, given["href"], CONTENT).status == 200


def test_a_large_file_has_as_few_parts_as_needed(server: Server, ana: str) -> None:
    size = 3 * 2**40
    header = actions(batch(server, ana, size=size, transfers=["multipart"]))["upload"]["header"]
    assert len(header) - 1 == -(-size // int(header["chunk_size"])) <= multipart.MOST_PARTS
