"""When something fails in the middle: a full disk, a client that leaves, a killed server, two at once.

Disks are full for real: a small file system in memory, which needs the right to mount one. What was refused
left nothing behind, what was acknowledged is there, and the same push works once the fault is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import hub_parts
from asking import Answer
from hub_contents import ContentServer, serving
from hubs import Hub, User, hub
from lanza.errors import StorageFull
from lanza.hub import multipart
from lanza.hub.collect import collect, verify
from lanza.hub.xet import store
from pushes import BATCH, Push, sha256, upload_urls
from xet_files import xorb

FULL = os.environ.get("LANZA_SOAK") == "1"
FILES = 100_000 if FULL else 20_000
ROUNDS = 50 if FULL else 8

REPO = "ana/becas"
ORIGIN = "http://hub.test:8420"

pytestmark = pytest.mark.timeout(1800 if FULL else 180)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def check_git(data: Path) -> None:
    for bare in (data / "git").glob("*/*.git"):
        command = ["git", "--git-dir", bare, "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def leftovers(data: Path) -> list[Path]:
    """Files that are half-way."""
    names = ("scratch/*", "git/*/*.git/objects/pack/tmp_*", "git/*/*.git/incoming-*", "git/**/*.lock")
    found = [path for name in names for path in data.glob(name)]
    return [path for path in found if path.name != "lanza.lock"]


# A server without sockets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ContentServer]:
    with serving(tmp_path / "data") as made:
        yield made


@pytest.fixture
def ana(server: ContentServer) -> str:
    token = server.user("ana")
    server.make(token, "becas")
    return token


def commit(server: ContentServer, token: str, push: Push) -> Answer:
    return server.ask(f"/api/models/{REPO}/commit/main", token, method="POST", body=push.body)


def batch(server: ContentServer, token: str, push: Push, *transfers: str) -> Any:
    body = {**push.batch, "transfers": ["basic", *transfers]}
    answer = server.ask(f"/{REPO}{BATCH}", token, method="POST", body=body)
    assert answer.status == 200, answer.text
    return answer.json


def upload(server: ContentServer, token: str, push: Push) -> list[Answer]:
    """Send the large files of a push that the server asks for."""
    hrefs = upload_urls(batch(server, token, push))
    contents = {sha256(content): content for content in push.large.values()}
    return [put(server, href, contents[oid]) for oid, href in hrefs.items()]


def put(server: ContentServer, href: str, content: bytes) -> Answer:
    return server.ask(href.removeprefix(ORIGIN), method="PUT", body=content)


def head(server: ContentServer, token: str) -> str:
    found: str = server.ask(f"/api/models/{REPO}", token).json["sha"]
    return found


def titles(server: ContentServer, token: str) -> list[str]:
    return [it["title"] for it in reversed(server.ask(f"/api/models/{REPO}/commits/main", token).json)][1:]


# A full disk


class Disk:
    """A small file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def leave(self, size: int) -> None:
        """Fill it, but for so many bytes."""
        self.empty()
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free - size)

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path], capture_output=True)
    if made.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def small(disk: Disk) -> Iterator[ContentServer]:
    """A server whose data folder is on the small disk."""
    with serving(disk.path / "data") as made:
        yield made


@pytest.fixture
def eva(small: ContentServer) -> str:
    token = small.user("ana")
    small.make(token, "becas")
    return token


def test_a_large_file_that_the_disk_cannot_hold_leaves_nothing(
    disk: Disk, small: ContentServer, eva: str
) -> None:
    before = disk.free
    (answer,) = upload(small, eva, Push(title="", large={"w.bin": noise(40_000_000)}))
    assert answer.status == 507, answer.text
    assert "disk is full" in answer.headers["x-error-message"]
    assert leftovers(disk.path / "data") == []
    assert list(small.hub.blobs.all()) == []
    assert abs(disk.free - before) < 1_000_000
    fits = Push(title="fits", large={"w.bin": noise(4_000_000)})
    assert [it.status for it in upload(small, eva, fits)] == [200]
    assert commit(small, eva, fits).status == 200


@needs_git
def test_a_commit_that_the_disk_cannot_hold_leaves_the_branch_where_it_was(
    disk: Disk, small: ContentServer, eva: str
) -> None:
    before = head(small, eva)
    push = Push(title="too much", small={f"{i}.txt": noise(900_000, i).hex().encode() for i in range(4)})
    disk.leave(1_500_000)
    for _ in range(3):
        answer = commit(small, eva, push)
        assert answer.status == 507, answer.text
        assert "disk is full" in answer.headers["x-error-message"]
    assert leftovers(disk.path / "data") == []
    assert head(small, eva) == before
    disk.empty()
    assert commit(small, eva, push).status == 200
    assert titles(small, eva) == ["too much"]
    check_git(disk.path / "data")


@needs_git
def test_a_disk_that_is_full_at_any_point_of_a_push_loses_nothing(
    disk: Disk, small: ContentServer, eva: str
) -> None:
    """Room for a little more each time: every write of a push is once the one that fails."""
    statuses = []
    done: list[Push] = []
    for number in range(40):
        push = Push(
            title=f"push {number}",
            small={f"{number}/{i}.txt": noise(6_000, 10 * number + i) for i in range(3)},
            large={f"{number}/w.bin": noise(20_000, number)},
        )
        disk.leave(number * 4096)
        statuses += [it.status for it in upload_or_refused(small, eva, push)]
        if statuses[-1] == 200:
            answer = commit(small, eva, push)
            statuses.append(answer.status)
        disk.empty()
        assert all(it.status == 200 for it in upload(small, eva, push))
        assert commit(small, eva, push).status == 200
        done.append(push)
    assert set(statuses) == {200, 507}
    assert titles(small, eva) == [push.title for push in done]
    assert leftovers(disk.path / "data") == []
    for push in done:
        for path, content in {**push.small, **push.large}.items():
            assert small.ask(f"/{REPO}/resolve/main/{path}", eva).body == content
    check_git(disk.path / "data")
    assert verify(small.hub) == []


def upload_or_refused(server: ContentServer, token: str, push: Push) -> list[Answer]:
    """The answers to an upload; that of the batch, when it is refused already."""
    answer = server.ask(f"/{REPO}{BATCH}", token, method="POST", body=push.batch)
    if answer.status != 200:
        return [answer]
    contents = {sha256(content): content for content in push.large.values()}
    hrefs = upload_urls(answer.json)
    return [put(server, href, contents[oid]) for oid, href in hrefs.items()] or [answer]


def test_on_a_full_disk_everything_that_is_there_can_be_read(
    disk: Disk, small: ContentServer, eva: str
) -> None:
    push = Push(title="there", small={"a.txt": b"uno"}, large={"w.bin": noise(100_000)})
    upload(small, eva, push)
    assert commit(small, eva, push).status == 200
    disk.leave(0)
    assert small.ask(f"/api/models/{REPO}", eva).json["sha"] == head(small, eva)
    assert small.ask(f"/{REPO}/resolve/main/a.txt", eva).body == b"uno"
    assert small.ask(f"/{REPO}/resolve/main/w.bin", eva).body == noise(100_000)
    assert [it["id"] for it in small.ask("/api/models?author=ana", eva).json] == [REPO]
    for path, body in {
        "/api/repos/create": {"name": "otro"},
        f"/api/models/{REPO}/tag/main": {"tag": "v1", "message": "uno"},
        f"/api/models/{REPO}/branch/dev": {},
    }.items():
        answer = small.ask(path, eva, method="POST", body=body)
        assert answer.status in (200, 507), (path, answer.text)


def test_a_part_that_the_disk_cannot_hold_is_sent_again_later(
    disk: Disk, small: ContentServer, eva: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, 4_000_000)
    push = Push(title="parts", large={"w.bin": noise(10_000_000)})
    given = batch(small, eva, push, "multipart")["objects"][0]["actions"]["upload"]
    assert put(small, given["header"]["1"], push.large["w.bin"][:4_000_000]).status == 200
    disk.leave(1_000_000)
    assert put(small, given["header"]["2"], push.large["w.bin"][4_000_000:8_000_000]).status == 507
    disk.empty()
    assert send_parts(small, given, push.large["w.bin"], 4_000_000, (2, 3)).status == 200
    assert commit(small, eva, push).status == 200
    assert small.ask(f"/{REPO}/resolve/main/w.bin", eva).body == push.large["w.bin"]


def test_a_xorb_that_the_disk_cannot_hold_leaves_nothing(disk: Disk) -> None:
    here = hub_parts.hub(disk.path / "data")
    person = hub_parts.person(here, "ana")
    assert person.account_id is not None
    name, data = xorb([noise(100_000, seed) for seed in range(60)])

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    disk.leave(2_000_000)
    with pytest.raises(StorageFull):
        asyncio.run(store.receive(here, person.account_id, name, pieces()))
    assert [
        path for path in (disk.path / "data").rglob("*") if path.is_file() and "lanza.db" not in path.name
    ] == []
    disk.empty()
    asyncio.run(store.receive(here, person.account_id, name, pieces()))
    here.database.close()


# In parts


def in_parts(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(multipart, "LARGEST_PIECE", size)
    monkeypatch.setattr(multipart, "PART", size)


def send_parts(
    server: ContentServer, given: Any, content: bytes, size: int, numbers: tuple[int, ...]
) -> Answer:
    """Send these parts, then say that all are there."""
    for number in numbers:
        part = content[(number - 1) * size : number * size]
        assert put(server, given["header"][str(number)], part).status == 200
    return complete(server, given, content, range(1, len(given["header"])))


def complete(server: ContentServer, given: Any, content: bytes, numbers: Iterable[int]) -> Answer:
    body = {"oid": sha256(content), "parts": [{"partNumber": number, "etag": "e"} for number in numbers]}
    return server.ask(given["href"].removeprefix(ORIGIN), method="POST", body=body)


def test_half_an_upload_in_parts_goes_on_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, 100_000)
    push = Push(title="parts", large={"w.bin": noise(250_000)})
    with serving(tmp_path / "data") as first:
        token = first.user("ana")
        first.make(token, "becas")
        given = batch(first, token, push, "multipart")["objects"][0]["actions"]["upload"]
        assert put(first, given["header"]["2"], push.large["w.bin"][100_000:200_000]).status == 200
        half = complete(first, given, push.large["w.bin"], (2,))
        assert (half.status, "have not come: 1, 3" in half.text) == (400, True)
        assert complete(first, given, push.large["w.bin"], (1, 2, 3)).status == 400
        assert commit(first, token, push).status == 400
    with serving(tmp_path / "data") as second:
        assert list(second.hub.blobs.all()) == []
        given = batch(second, token, push, "multipart")["objects"][0]["actions"]["upload"]
        assert send_parts(second, given, push.large["w.bin"], 100_000, (1, 3)).status == 200
        assert commit(second, token, push).status == 200
        assert second.ask(f"/{REPO}/resolve/main/w.bin", token).body == push.large["w.bin"]


def test_half_an_upload_in_parts_that_was_given_up_is_collected(
    server: ContentServer, ana: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_parts(monkeypatch, 100_000)
    push = Push(title="parts", large={"w.bin": noise(250_000)})
    given = batch(server, ana, push, "multipart")["objects"][0]["actions"]["upload"]
    assert put(server, given["header"]["2"], push.large["w.bin"][100_000:200_000]).status == 200
    assert collect(server.hub, older_than=timedelta(0)).uploads == 2
    assert [path for path in (tmp_path / "data" / "parts").rglob("*") if path.is_file()] == []
    assert put(server, given["header"]["1"], push.large["w.bin"][:100_000]).status == 404


# Many files


@needs_git
def test_many_files_in_one_commit(server: ContentServer, ana: str, tmp_path: Path) -> None:
    files = {f"{number % 97}/{number}.txt": b"file %d" % number for number in range(FILES)}
    answer = commit(server, ana, Push(title="many", small=files))
    assert answer.status == 200, answer.text
    found: dict[str, int] = {}
    url = f"/api/models/{REPO}/tree/main?recursive=true"
    while url:
        page = server.ask(url, ana)
        found |= {it["path"]: it["size"] for it in page.json if it["type"] == "file"}
        following = re.search(r'<([^>]+)>; rel="next"', page.headers.get("link", ""))
        url = following[1].removeprefix(ORIGIN) if following else ""
    del found[".gitattributes"]
    assert found == {path: len(content) for path, content in files.items()}
    for path in random.Random(1).sample(sorted(files), 20):
        assert server.ask(f"/{REPO}/resolve/main/{path}", ana).body == files[path]
    check_git(tmp_path / "data")
    folders = Push(title="none", folders_deleted=[str(number) for number in range(97)])
    assert commit(server, ana, folders).status == 200
    listed = server.ask(f"/api/models/{REPO}/tree/main?recursive=true", ana).json
    assert [it["path"] for it in listed] == [".gitattributes"]


# The server as a process


def call(user: User, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    url = path if "://" in path else user.url + path
    request = urllib.request.Request(url, method=method, data=body)
    request.add_header("Authorization", f"Bearer {user.token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def new_repo(user: User) -> str:
    assert call(user, "POST", "/api/repos/create", json.dumps({"name": "becas"}).encode())[0] == 200
    return f"{user.name}/becas"


@needs_git
def test_of_two_pushes_at_once_one_wins_and_the_other_can_follow(tmp_path: Path) -> None:
    with hub(tmp_path / "data", "--no-upstream") as running:
        ana = running.user("ana")
        url = f"/api/models/{new_repo(ana)}/commit/main"
        parent = call(ana, "GET", f"/api/models/{REPO}")[1]["sha"]
        for number in range(ROUNDS):
            pushes = [
                Push(title=f"{number} {who}", small={f"{number}/{who}.txt": who.encode()}, parent=parent)
                for who in ("one", "two", "three")
            ]
            with ThreadPoolExecutor(3) as pool:
                answers = list(pool.map(lambda push: call(ana, "POST", url, push.body), pushes))
            assert sorted(status for status, _ in answers) in (
                [200, 409, 409],
                [200, 409, 412],
                [200, 412, 412],
            )
            (parent,) = (told["commitOid"] for status, told in answers if status == 200)
            for push, (status, _) in zip(pushes, answers, strict=True):
                if status != 200:
                    again = Push(title=push.title, small=push.small, parent=parent)
                    done, told = call(ana, "POST", url, again.body)
                    assert done == 200
                    parent = told["commitOid"]
        listed = call(ana, "GET", f"/api/models/{REPO}/tree/main?recursive=true")[1]
        assert len([it for it in listed if it["path"].endswith(".txt")]) == 3 * ROUNDS
        assert len(call(ana, "GET", f"/api/models/{REPO}/commits/main")[1]) == 3 * ROUNDS + 1
        assert running.stop() == 0
    check_git(tmp_path / "data")


def begin_upload(user: User, repo: str, content: bytes) -> socket.socket:
    """Send half of a large file, and keep the connection."""
    push = Push(title="", large={"w.bin": content})
    status, told = call(user, "POST", f"/{repo}{BATCH}", json.dumps(push.batch).encode())
    assert status == 200
    url = urlsplit(upload_urls(told)[sha256(content)])
    sender = socket.create_connection((url.hostname, url.port))
    head = (
        f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    sender.sendall(head.encode() + content[: len(content) // 2])
    return sender


def wait_until(holds: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def stored(running: Hub) -> list[str]:
    return [path.name for path in (running.data / "blobs").rglob("*") if path.is_file()]


def is_writing(running: Hub) -> bool:
    return any(path.stat().st_size for path in (running.data / "scratch").iterdir())


def test_half_a_large_file_is_no_blob_whoever_leaves(tmp_path: Path) -> None:
    """First the client goes away, then the server is killed; then the file comes whole."""
    content, data = noise(30_000_000), tmp_path / "data"
    with hub(data, "--no-upstream") as running:
        ana = running.user("ana")
        repo = new_repo(ana)
        with begin_upload(ana, repo, content):
            wait_until(lambda: is_writing(running))
        wait_until(lambda: not leftovers(data))
        assert stored(running) == []
        with begin_upload(ana, repo, content):
            wait_until(lambda: is_writing(running))
            running.process.kill()
            running.process.wait(20)
    assert leftovers(data) != []
    with hub(data, "--no-upstream") as running:
        assert leftovers(data) == []
        assert stored(running) == []
        ana = User(name="ana", token=ana.token, url=running.url, home=ana.home)
        push = Push(title="whole", large={"w.bin": content})
        status, told = call(ana, "POST", f"/{repo}{BATCH}", json.dumps(push.batch).encode())
        assert (status, len(upload_urls(told))) == (200, 1)
        assert call(ana, "POST", f"/api/models/{repo}/commit/main", push.body)[0] == 400
        assert call(ana, "PUT", upload_urls(told)[sha256(content)], content)[0] == 200
        assert call(ana, "POST", f"/api/models/{repo}/commit/main", push.body)[0] == 200
        assert stored(running) == [sha256(content)]


@needs_git
def test_a_git_push_that_the_disk_cannot_hold_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    data = disk.path / "data"
    with hub(data, "--no-upstream", homes=tmp_path / "homes") as running:
        ana = running.user("ana")
        url = running.url.replace("://", f"://ana:{ana.token}@") + f"/{new_repo(ana)}"
        ana.run("git", "clone", "-q", url, "work")
        work = ana.home / "work"
        (work / "notes.txt").write_bytes(noise(3_000_000).hex().encode())
        who = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
        ana.run("git", "add", "notes.txt", cwd=work)
        ana.run("git", *who, "commit", "-q", "-m", "notes", cwd=work)
        disk.leave(1_000_000)
        refused = ana.run("git", "push", "-q", cwd=work, check=False)
        assert refused.returncode != 0
        assert "the server's disk is full" in refused.stderr
        assert leftovers(data) == []
        disk.empty()
        ana.run("git", "push", "-q", cwd=work)
        assert running.stop() == 0
    check_git(data)
