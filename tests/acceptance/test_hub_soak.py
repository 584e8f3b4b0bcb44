"""The Hub under what happens to servers: `kill -9` at every step of a push, and any order of operations.

Short by default; `make soak` sets LANZA_SOAK=1 and gets the full counts.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from hubs import Hub, User, hub
from pushes import BATCH, Push, sha256, upload_urls
from serving import ROOT

FULL = os.environ.get("LANZA_SOAK") == "1"
KILLS = 200 if FULL else 6
GIT_KILLS = 40 if FULL else 3

REPO = "admin/becas"
LARGE = 3_000_000
GIT_FILE = 6_000_000

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]


# Killed at every step


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When the server is killed: before a step of the push (from 1), or some seconds after its begin."""

    step: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True)
class Orders:
    """Tells the server in which step to end (see `kills/sitecustomize.py`), and reads which there were."""

    folder: Path
    given: int = 0

    @property
    def environment(self) -> list[str]:
        path = os.pathsep.join([str(ROOT / "tests" / "kills"), str(ROOT / "src")])
        self.give(0)
        return [f"PYTHONPATH={path}", f"KILL_AT={self.folder / 'at'}", f"KILL_STEPS={self.folder / 'steps'}"]

    def give(self, step: int) -> None:
        self.given += 1
        (self.folder / "at").write_text(f"order{self.given} {step}")
        (self.folder / "steps").write_text("")

    @property
    def steps(self) -> list[str]:
        return (self.folder / "steps").read_text().split()


@dataclass(kw_only=True)
class History:
    """What a client knows: the pushes that it was told to be there, and the one it got no answer to."""

    hub: Hub | None = None
    known: list[tuple[str, Push]] = field(default_factory=list)
    pending: Push | None = None

    def next_push(self) -> Push:
        """New small files, one that changes every time, and a large file; every other names its parent."""
        number = len(self.known)
        noise = random.Random(number)
        return Push(
            title=f"push {number}",
            small={f"notes/{number}/{i}.txt": noise.randbytes(200).hex().encode() for i in range(8)}
            | {"README.md": f"---\ntags: [push-{number}]\n---\n".encode()},
            large={f"weights-{number % 3}.bin": noise.randbytes(LARGE)},
            parent=self.known[-1][0] if number % 2 and self.known else None,
        )

    def push(self, push: Push) -> bool:
        """Whether it was acknowledged; if not, it stays pending."""
        self.pending = push
        try:
            actions = self.ask("POST", f"/{REPO}{BATCH}", json.dumps(push.batch).encode())
            for oid, href in upload_urls(actions).items():
                content = next(it for it in push.large.values() if sha256(it) == oid)
                self.ask("PUT", href, content)
            made = self.ask("POST", f"/api/models/{REPO}/commit/main", push.body)
        except (ConnectionError, http.client.HTTPException, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            return False
        self.known.append((made["commitOid"], push))
        self.pending = None
        return True

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        return json.loads(self.read(method, path, body) or b"null")

    def read(self, method: str, path: str, body: bytes | None = None) -> bytes:
        assert self.hub is not None
        url = path if "://" in path else self.hub.url + path
        request = urllib.request.Request(url, method=method, data=body)
        request.add_header("Authorization", f"Bearer {self.hub.root}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def check(self) -> None:
        """All that was acknowledged is there, in its order; what was not is there wholly or not at all."""
        listed = self.ask("GET", f"/api/models/{REPO}/commits/main")
        titles = [push.title for _, push in self.known]
        present = [it["title"] for it in reversed(listed)][1:]
        assert present in (titles, [*titles, self.pending.title if self.pending else "-"])
        assert [it["id"] for it in reversed(listed)][1 : len(titles) + 1] == [oid for oid, _ in self.known]
        branches = self.ask("GET", f"/api/models/{REPO}/refs")["branches"]
        assert branches == [{"name": "main", "ref": "refs/heads/main", "targetCommit": listed[0]["id"]}]
        assert self.listed(listed[0]["title"]) == [REPO]
        assert all(self.listed(title) == [] for title in {*titles, "push 0"} - {listed[0]["title"]})
        newest = [(listed[0]["id"], self.pending)] if len(present) > len(titles) else []
        for oid, push in [*self.known[-1:], *newest]:
            if push is not None:
                self.check_files(oid, push)
        self.check_tree(listed[0]["id"], [push for _, push in [*self.known, *newest] if push is not None])

    def listed(self, title: str) -> list[str]:
        """What a list finds by the tag that a push with this title gives its repository."""
        return [it["id"] for it in self.ask("GET", f"/api/models?filter={title.replace(' ', '-')}")]

    def check_files(self, oid: str, push: Push) -> None:
        for path, content in {**push.small, **push.large}.items():
            assert self.read("GET", f"/{REPO}/resolve/{oid}/{path}") == content, (push.title, path)

    def check_tree(self, oid: str, pushes: list[Push]) -> None:
        """The folder listing is all that was pushed, and no more."""
        files = {path: content for push in pushes for path, content in {**push.small, **push.large}.items()}
        entries = self.ask("GET", f"/api/models/{REPO}/tree/{oid}?recursive=true")
        found = {it["path"]: it["size"] for it in entries if it["type"] == "file"}
        assert found.pop(".gitattributes") > 0
        assert found == {path: len(content) for path, content in files.items()}


def check_disk(data: Path) -> None:
    """git finds nothing wrong, every blob is what its name says, and nothing is half-way."""
    (bare,) = (data / "git").glob("*/*.git")
    done = subprocess.run(
        ["git", "--git-dir", bare, "fsck", "--strict", "--full", "--no-dangling", "--no-progress"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for path in filter(Path.is_file, (data / "blobs").rglob("*")):
        assert sha256(path.read_bytes()) == path.name
    assert list((data / "scratch").iterdir()) == []


def moments(steps: int, seconds: float) -> list[Moment]:
    """Spread over all steps, then over the time that a push takes. In the full form every step is there."""
    by_time = KILLS // 3
    by_step = max(KILLS - by_time, steps) if FULL else KILLS - by_time
    return [
        *(Moment(step=1 + (2 * number + 1) * steps // (2 * by_step)) for number in range(by_step)),
        *(Moment(seconds=seconds * 1.1 * (number + 0.5) / by_time) for number in range(by_time)),
    ]


def kill_during_a_push(history: History, orders: Orders, moment: Moment) -> bool:
    """Whether it came before the push was acknowledged. If not, the server is killed right after."""
    server = history.hub
    assert server is not None
    orders.give(moment.step)
    timer = Timer(moment.seconds, server.process.kill) if moment.seconds else None
    if timer:
        timer.start()
    done = history.push(history.next_push())
    if timer:
        timer.join()
    server.process.kill()
    server.process.wait(30)
    return not done


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_kill_at_any_step_of_a_push_loses_nothing(tmp_path: Path) -> None:
    data, orders, history = tmp_path / "data", Orders(folder=tmp_path), History()
    with hub(data, "--no-upstream", environment=orders.environment) as history.hub:
        history.ask(
            "POST", "/api/repos/create", json.dumps({"name": "becas", "organization": "admin"}).encode()
        )
        assert history.push(history.next_push())
        orders.give(0)
        begin = time.monotonic()
        assert history.push(history.next_push())
        seconds = time.monotonic() - begin
        steps = orders.steps
    assert {"write", "fsync", "rename", "replace", "commit", "git_transaction_commit"} <= set(steps)
    print(f"{len(steps)} steps, {seconds:.3f} s")
    chosen = moments(len(steps), seconds)
    in_time = 0
    for moment in chosen:
        with hub(data, "--no-upstream", environment=orders.environment) as history.hub:
            history.check()
            check_disk(data)
            if history.pending is not None:
                assert history.push(history.pending)
                history.check()
            in_time += kill_during_a_push(history, orders, moment)
    print(f"{in_time} of {len(chosen)} kills came before the answer")
    assert in_time > len(chosen) / 2
    with hub(data, "--no-upstream", environment=orders.environment) as history.hub:
        history.check()
        for oid, push in history.known:
            history.check_files(oid, push)
        assert history.hub.stop() == 0
    check_disk(data)


def push_by_git(user: User, work: Path, number: int) -> None:
    """A commit of a file that git itself keeps, and a push that may fail."""
    (work / f"{number}.txt").write_text(random.Random(number).randbytes(GIT_FILE // 2).hex())
    who = ("-c", f"user.name={user.name}", "-c", "user.email=ana@example.org")
    user.run("git", "add", ".", cwd=work)
    user.run("git", *who, "commit", "-q", "-m", f"push {number}", cwd=work)
    user.run("git", "push", "-q", cwd=work, check=False)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_kill_during_a_push_by_git_loses_nothing(tmp_path: Path) -> None:
    data, seconds = tmp_path / "data", 0.0
    work = tmp_path / "data-homes" / "ana" / "work"
    ana: User | None = None
    for number in range(GIT_KILLS + 1):
        with hub(data, "--no-upstream") as server:
            if ana is None:
                ana = server.user("ana")
                server.call("POST", "/api/repos/create", {"name": "becas"}, ana.token)
                ana.run("git", "clone", "-q", git_url(ana), "work")
            ana = User(name="ana", token=ana.token, url=server.url, home=ana.home)
            ana.run("git", "remote", "set-url", "origin", git_url(ana), cwd=work)
            check_lists(server, ana)
            ana.run("git", "push", "-q", cwd=work)
            check_disk(data)
            begin = time.monotonic()
            timer = Timer(seconds * (number - 0.5) / GIT_KILLS, server.process.kill)
            if number:
                timer.start()
            push_by_git(ana, work, number)
            seconds = seconds or time.monotonic() - begin
    with hub(data, "--no-upstream") as server:
        assert ana is not None
        check_lists(server, ana)
        ana = User(name="ana", token=ana.token, url=server.url, home=ana.home)
        ana.run("git", "remote", "set-url", "origin", git_url(ana), cwd=work)
        ana.run("git", "push", "-q", cwd=work)
        ana.run("git", "clone", "-q", git_url(ana), "again")
        log = [ana.run("git", "log", "--format=%H %s", cwd=ana.home / it).stdout for it in ("work", "again")]
        assert log[0] == log[1]
        assert log[0].count("push") == GIT_KILLS + 1
    check_disk(data)


def check_lists(server: Hub, user: User) -> None:
    """Lists speak of the commit that main is at."""
    (told,) = server.call("GET", f"/api/models?author={user.name}&full=true", token=user.token)
    main = server.call("GET", f"/api/models/{user.name}/becas/refs", token=user.token)["branches"][0]
    assert told["sha"] == main["targetCommit"]


def git_url(user: User) -> str:
    return user.url.replace("://", f"://{user.name}:{user.token}@") + f"/{user.name}/becas"
