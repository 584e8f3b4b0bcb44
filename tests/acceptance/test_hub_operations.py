"""Any order of operations on repositories, each answer compared with what a plain model says.

The model is dictionaries (`hub_model.py`). The server is the whole application, with SQLite, git and blobs,
asked without sockets. Each run is a user who does what chance says (`hub_draws.py`); in the end garbage is
collected, everything is read, and the user is removed, with all that was theirs. A run that finds something
is made shorter, as long as it still does, and told.

Short by default; `make soak` sets LANZA_SOAK=1 and gets the full counts. LANZA_SEED=N begins at another run.
"""

from __future__ import annotations

import copy
import os
import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest

from asking import Answer
from hub_contents import ContentServer, serving
from hub_draws import CARDS, MAIN, NAMES, Operation, drawn
from hub_model import Made, Model, Refused, room_for_ref
from lanza.auth import accounts, tokens
from lanza.auth.principal import Role
from lanza.hub.collect import collect, verify
from pushes import BATCH, Push, sha256, upload_urls

FULL = os.environ.get("LANZA_SOAK") == "1"
RUNS, STEPS = (40, 60) if FULL else (8, 50)
FIRST = int(os.environ.get("LANZA_SEED", "0"))

MOST_TRIES: Final = 80
"""How often a run that finds something is made shorter."""

LICENCES: Final = ("mit", "bsl-1.0")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]


class Operations:
    """One user, up to three repositories. `numbers` are never given twice."""

    def __init__(self, server: ContentServer, numbers: Iterator[int]) -> None:
        self.server = server
        self.numbers = numbers
        self.user = f"user{next(numbers)}"
        self.token = self.server.user(self.user)
        self.repos: dict[str, Model] = {}
        self.moved: dict[str, Model] = {}
        self.last: tuple[Model, str, Push, str] | None = None

    def run(self, operations: Sequence[Operation]) -> None:
        """Do them all, one after the other."""
        for name, given in operations:
            getattr(self, name)(**given)
            self.check_lists()
        self.check_all()
        self.leave()

    # Asking

    def ask(self, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        return self.server.ask(path, self.token, method=method, body=body, **headers)

    def api(self, name: str, rest: str = "", *, method: str = "GET", body: Any = None) -> Answer:
        return self.ask(f"/api/models/{self.user}/{name}{rest}", method=method, body=body)

    def find(self, name: str) -> Model:
        """The repository of that name, or moved away from it."""
        found = self.repos.get(name) or self.moved.get(name)
        if found is None:
            raise Refused(404, "RepoNotFound")
        return found

    def large(self, number: int) -> bytes:
        """A large file's content. No other run has the same: it would keep it from being collected."""
        return random.Random(f"{self.user} {number}").randbytes(number * 20_000)

    def revision(self, name: str, wanted: str | int) -> str:
        """A name as it is, or one of the commits."""
        if isinstance(wanted, str):
            return wanted
        commits = list(self.find(name).commits)
        return commits[wanted % len(commits)]

    def check(self, answer: Answer, refused: Refused | None) -> None:
        expected = (refused.status, refused.code) if refused else (200, None)
        assert (answer.status, answer.headers.get("x-error-code")) == expected, answer.body[:500]

    # Repositories

    def create(self, name: str) -> None:
        answer = self.ask("/api/repos/create", method="POST", body={"name": name})
        self.check(answer, Refused(409) if name in self.repos else None)
        if name not in self.repos:
            self.moved.pop(name, None)
            oid = self.api(name).json["sha"]
            first = Made(files={}, title="initial commit", parent=None)
            self.repos[name] = Model(commits={oid: first}, branches={MAIN: oid})

    def move(self, name: str, to: str) -> None:
        body = {"fromRepo": f"{self.user}/{name}", "toRepo": f"{self.user}/{to}", "type": "model"}
        answer = self.ask("/api/repos/move", method="POST", body=body)
        if name not in self.repos:
            self.check(answer, Refused(404, "RepoNotFound"))
        elif to in self.repos and to != name:
            self.check(answer, Refused(409))
        else:
            self.check(answer, None)
            model = self.repos.pop(name)
            self.moved[name] = model
            self.moved.pop(to, None)
            self.repos[to] = model

    def delete(self, name: str) -> None:
        if len(self.repos) < len(NAMES):
            return
        answer = self.ask("/api/repos/delete", method="DELETE", body={"name": name})
        self.check(answer, None)
        gone = self.repos.pop(name)
        self.moved = {old: model for old, model in self.moved.items() if model is not gone}

    def duplicate(self, name: str, to: str) -> None:
        body = {"repository": f"{self.user}/{to}"}
        answer = self.api(name, "/duplicate", method="POST", body=body)
        try:
            model = self.find(name)
            if to in self.repos:
                raise Refused(409)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        self.moved.pop(to, None)
        self.repos[to] = copy.deepcopy(model)

    # Commits

    def commit(
        self,
        name: str,
        branch: str,
        small: dict[str, bytes],
        large: dict[str, int],
        deleted: list[str],
        folders_deleted: list[str],
        parent: str | int | None,
    ) -> None:
        if not any((small, large, deleted, folders_deleted)):
            return
        try:
            model = self.find(name)
            resolved = None if parent is None else model.resolve(self.revision(name, parent))
        except Refused:
            return
        contents = {path: self.large(number) for path, number in large.items()}
        self.upload(name, list(contents.values()))
        push = Push(
            title=f"commit {next(self.numbers)}",
            small=small,
            large=contents,
            deleted=deleted,
            folders_deleted=folders_deleted,
            parent=resolved,
        )
        answer = self.send(name, branch, push)
        try:
            files = model.changed(branch, push)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        head, made = model.head(branch), answer.json["commitOid"]
        assert (made == head) == (files == model.commits[head].files)
        if made != head:
            model.commits[made] = Made(files=files, title=push.title, parent=head)
            model.branches[branch] = made
            self.last = (model, branch, push, made)

    def remove(self, name: str, branch: str, which: int, folder: bool) -> None:
        """Delete one of the files or folders that are there."""
        model = self.repos.get(name)
        if model is None or branch not in model.branches:
            return
        files = sorted(model.commits[model.head(branch)].files)
        there = sorted({path.rpartition("/")[0] for path in files} - {""}) if folder else files
        if there:
            chosen = [there[which % len(there)]]
            folders, deleted = (chosen, []) if folder else ([], chosen)
            self.commit(name, branch, {}, {}, deleted, folders, None)

    def send(self, name: str, branch: str, push: Push) -> Answer:
        return self.api(name, f"/commit/{quote(branch, safe='')}", method="POST", body=push.body)

    def upload(self, name: str, contents: list[bytes]) -> None:
        """By git-lfs' protocol: what the server does not want is not sent."""
        push = Push(title="", large={str(number): content for number, content in enumerate(contents)})
        answer = self.ask(f"/{self.user}/{name}{BATCH}", method="POST", body=push.batch)
        assert answer.status == 200, answer.text
        for oid, href in upload_urls(answer.json).items():
            content = next(it for it in contents if sha256(it) == oid)
            sent = self.ask(href.removeprefix("http://hub.test:8420"), method="PUT", body=content)
            assert sent.status == 200, sent.text

    def upload_and_commit_later(self, name: str, content: int) -> None:
        if name in self.repos:
            self.upload(name, [self.large(content)])

    def repeat_the_last_commit(self) -> None:
        """Whose answer was lost: there is no twin."""
        if self.last is None:
            return
        model, branch, push, made = self.last
        name = next((name for name, it in self.repos.items() if it is model), None)
        if name is not None and model.branches.get(branch) == made:
            answer = self.send(name, branch, push)
            self.check(answer, None)
            assert answer.json["commitOid"] == made

    def squash(self, name: str, branch: str) -> None:
        title = f"squash {next(self.numbers)}"
        path = f"/super-squash/{quote(branch, safe='')}"
        answer = self.api(name, path, method="POST", body={"message": title})
        try:
            model = self.find(name)
            head = model.head(branch)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        made = {it["name"]: it["targetCommit"] for it in self.api(name, "/refs").json["branches"]}[branch]
        model.commits[made] = Made(files=model.commits[head].files, title=title, parent=None)
        model.branches[branch] = made
        model.forget()

    # Branches and tags

    def create_branch(self, name: str, branch: str, start: str | int) -> None:
        try:
            model = self.find(name)
        except Refused:
            return
        revision = self.revision(name, start)
        path = f"/branch/{quote(branch, safe='')}"
        answer = self.api(name, path, method="POST", body={"startingPoint": revision})
        try:
            target = model.resolve(revision)
            room_for_ref(model.branches, branch)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        model.branches[branch] = target

    def delete_branch(self, name: str, branch: str) -> None:
        answer = self.api(name, f"/branch/{quote(branch, safe='')}", method="DELETE")
        try:
            model = self.find(name)
            if branch == MAIN:
                raise Refused(400)
            model.head(branch)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        del model.branches[branch]
        model.forget()

    def create_tag(self, name: str, tag: str, start: str | int, message: str | None) -> None:
        try:
            model = self.find(name)
        except Refused:
            return
        revision = self.revision(name, start)
        body = {"tag": tag, "message": message}
        answer = self.api(name, f"/tag/{quote(revision, safe='')}", method="POST", body=body)
        try:
            oid = model.resolve(revision)
            room_for_ref(model.tags, tag)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        model.tags[tag] = oid

    def delete_tag(self, name: str, tag: str) -> None:
        answer = self.api(name, f"/tag/{quote(tag, safe='')}", method="DELETE")
        try:
            model = self.find(name)
            if tag not in model.tags:
                raise Refused(404, "RevisionNotFound")
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        del model.tags[tag]
        model.forget()

    # Reading

    def read(self, name: str, wanted: str | int, path: str, part: bool) -> None:
        try:
            revision = self.revision(name, wanted)
        except Refused:
            return
        url = f"/{self.user}/{name}/resolve/{quote(revision, safe='')}/{quote(path)}"
        answer = self.ask(url, **({"Range": "bytes=1-9999"} if part else {}))
        try:
            model = self.find(name)
            oid = model.resolve(revision)
            file = model.commits[oid].files.get(path)
            if file is None:
                assert answer.headers["x-repo-commit"] == oid
                raise Refused(404, "EntryNotFound")
        except Refused as refused:
            self.check(answer, refused)
            return
        content = file[0]
        if part and len(content) < 2:
            assert answer.status == 416  # there is no second byte
            return
        assert answer.headers["x-repo-commit"] == oid
        if part:
            assert (answer.status, answer.body) == (206, content[1:10_000])
        else:
            assert (answer.status, answer.body) == (200, content)

    def list_files(self, name: str, wanted: str | int) -> None:
        try:
            revision = self.revision(name, wanted)
        except Refused:
            return
        answer = self.api(name, f"/tree/{quote(revision, safe='')}?recursive=true&expand=true")
        try:
            model = self.find(name)
            oid = model.resolve(revision)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        found = {
            it["path"]: (it["size"], it.get("lfs", {}).get("oid"), it["lastCommit"]["title"])
            for it in answer.json
            if it["type"] == "file" and it["path"] != ".gitattributes"
        }
        assert found == {
            path: (len(content), sha256(content) if large else None, self.last_change(model, oid, path))
            for path, (content, large) in model.commits[oid].files.items()
        }

    def last_change(self, model: Model, oid: str, path: str) -> str:
        now = model.commits[oid].files[path]
        title = ""
        for _, made in model.history(oid):
            if made.files.get(path) != now:
                break
            title = made.title
        return title

    def read_history(self, name: str, wanted: str | int) -> None:
        try:
            revision = self.revision(name, wanted)
        except Refused:
            return
        answer = self.api(name, f"/commits/{quote(revision, safe='')}")
        try:
            model = self.find(name)
            oid = model.resolve(revision)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        found = [(it["id"], it["title"]) for it in answer.json]
        assert found == [(oid, made.title) for oid, made in model.history(oid)]

    # Upkeep

    def collect_garbage(self) -> None:
        """Twice, for what the first time took out of reach."""
        for _ in range(2):
            collect(self.server.hub, older_than=timedelta(0))

    def check_lists(self) -> None:
        """Names, licences and refs are as they should be."""
        self.check_list({}, self.repos)
        for licence in LICENCES:
            card = next(it for it in CARDS if licence.encode() in it)
            having = [name for name, model in self.repos.items() if self.card(model) == card]
            self.check_list({"filter": f"license:{licence}"}, having)
        for name in NAMES:
            answer = self.api(name, "/refs")
            try:
                model = self.find(name)
            except Refused as refused:
                self.check(answer, refused)
                continue
            self.check(answer, None)
            for kind, known in (("branches", model.branches), ("tags", model.tags)):
                assert {it["name"]: it["targetCommit"] for it in answer.json[kind]} == known

    def check_list(self, query: dict[str, str], names: Iterable[str]) -> None:
        listed = self.ask(f"/api/models?{urlencode({'author': self.user, **query})}").json
        assert {it["id"] for it in listed} == {f"{self.user}/{name}" for name in names}, query

    def card(self, model: Model) -> bytes:
        return model.commits[model.head(MAIN)].files.get("README.md", (b"", False))[0]

    def check_all(self) -> None:
        """Once nobody needs anything else: all that a ref leads to is there, byte for byte."""
        self.collect_garbage()
        for name, model in self.repos.items():
            for oid, made in model.commits.items():
                for path, (content, _) in made.files.items():
                    answer = self.ask(f"/{self.user}/{name}/resolve/{oid}/{quote(path)}")
                    assert (answer.status, answer.body) == (200, content), (name, made.title, path)
        assert verify(self.server.hub) == []

    def leave(self) -> None:
        """A user who is removed leaves nothing behind."""
        with self.server.hub.database.writing() as session:
            root = tokens.issue(session, accounts.get(session, "admin"), name=self.user, role=Role.ADMIN)[1]
        answer = self.server.ask(f"/api/lanza/users/{self.user}", root, method="DELETE")
        assert answer.status == 204
        self.collect_garbage()
        assert list(self.server.hub.blobs.all()) == []
        assert self.server.hub.git.numbers() == []


def found(folder: Path, operations: Sequence[Operation]) -> str:
    """What is wrong after these operations on a new server; nothing, mostly."""
    with serving(folder / "data") as server:
        try:
            Operations(server, count(1)).run(operations)
        except (AssertionError, KeyError) as error:  # an answer that is wrong, or lacks something
            return repr(error)
        return damage(folder / "data" / "git")


def damage(git: Path) -> str:
    """What git itself has against its repositories."""
    said = ""
    for bare in git.glob("*/*.git"):
        command = ["git", "--git-dir", bare, "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said += f"{done.stdout}{done.stderr}"
    return said


def shortened(folder: Path, operations: list[Operation]) -> list[Operation]:
    """Fewer of them that still find something: half of them is left out, a quarter, ... and each one."""
    tries = 0
    size = len(operations) // 2
    while size:
        start = 0
        while start < len(operations) and tries < MOST_TRIES:
            tries += 1
            fewer = operations[:start] + operations[start + size :]
            if found(folder / str(tries), fewer):
                operations = fewer
            else:
                start += size
        size //= 2
    return operations


def told(operations: Sequence[Operation]) -> str:
    return "\n".join(f"{name}({given})" for name, given in operations)


@pytest.mark.parametrize("run", range(FIRST, FIRST + RUNS))
def test_any_order_of_operations_does_what_a_plain_model_says(tmp_path: Path, run: int) -> None:
    operations = drawn(f"run {run}", STEPS)
    if found(tmp_path / "first", operations):
        print(told(operations))
        fewest = shortened(tmp_path, operations)
        pytest.fail(f"{found(tmp_path / 'last', fewest)}\nafter\n{told(fewest)}")
