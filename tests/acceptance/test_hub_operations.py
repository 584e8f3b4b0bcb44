"""Any order of operations on repositories, each answer compared with what a plain model says.

The model is dictionaries: a repository is its commits, branches and tags; a commit is its files, its parent
and its title. The server is the whole application, with SQLite, git and blobs, asked without sockets.

Short by default; `make soak` sets LANZA_SOAK=1 and gets the full counts.
"""

from __future__ import annotations

import copy
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from asking import Answer
from hub_contents import ContentServer, serving
from lanza.hub.collect import collect, verify
from pushes import BATCH, Push, sha256, upload_urls

FULL = os.environ.get("LANZA_SOAK") == "1"
RUNS, STEPS = (50, 40) if FULL else (5, 30)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600 if FULL else 180)]

MAIN: Final = "main"
NAMES: Final = ("becas", "notas", "otro")
BRANCHES: Final = (MAIN, "dev", "x", "x/y", "nowhere")
TAGS: Final = ("v1", "v2/a", "dev")
FOLDERS: Final = ("d", "d/e")
PATHS: Final = ("a.txt", "b.txt", "año 1.txt", "w.bin", "d", "d/a.txt", "d/w.bin", "d/e", "d/e/b.txt")
CARDS: Final = (
    b"---\nlicense: mit\n---\n",
    b"---\nlicense: bsl-1.0\n---\n",
    b"---\nlicense: [\n---\n",
    b"none",
)
LARGE: Final = tuple(random.Random(seed).randbytes(seed * 20_000) for seed in range(6))

File = tuple[bytes, bool]
"""A file's content, and whether it is a large one."""

names = st.sampled_from(NAMES)
branches = st.sampled_from(BRANCHES)
tags = st.sampled_from(TAGS)
revisions = st.one_of(st.sampled_from((MAIN, MAIN, *BRANCHES, *TAGS)), st.integers(0, 30))
small_files = st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=30), max_size=3)
cards = st.one_of(st.just({}), st.fixed_dictionaries({"README.md": st.sampled_from(CARDS)}))
large_contents = st.integers(0, len(LARGE) - 1)
large_files = st.dictionaries(st.sampled_from(PATHS), large_contents, max_size=2)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A commit."""

    files: dict[str, File]
    title: str
    parent: str | None


class Refused(Exception):
    """What the model says that the server answers instead."""

    def __init__(self, status: int, code: str | None = None) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


@dataclass(kw_only=True)
class Model:
    """A repository, as it should be."""

    commits: dict[str, Made] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str:
        for known in (self.branches, self.tags):
            if revision in known:
                return known[revision]
        if revision in self.commits:
            return revision
        raise Refused(404, "RevisionNotFound")

    def head(self, branch: str) -> str:
        if branch not in self.branches:
            raise Refused(404, "RevisionNotFound")
        return self.branches[branch]

    def history(self, oid: str | None) -> Iterator[tuple[str, Made]]:
        while oid is not None:
            yield oid, self.commits[oid]
            oid = self.commits[oid].parent

    def forget(self) -> None:
        """Forget commits that no ref leads to: large files of theirs may be collected."""
        heads = [*self.branches.values(), *self.tags.values()]
        kept = {oid for head in heads for oid, _ in self.history(head)}
        self.commits = {oid: made for oid, made in self.commits.items() if oid in kept}

    def changed(self, branch: str, push: Push) -> dict[str, File]:
        """The files of the branch after a push."""
        head = self.head(branch)
        if push.parent is not None and push.parent != head:
            raise Refused(412)
        files = dict(self.commits[head].files)
        for folder in push.folders_deleted:
            inside = _inside(files, folder)
            if not inside:
                raise Refused(404, "EntryNotFound")
            for path in inside:
                del files[path]
        for path in push.deleted:
            if files.pop(path, None) is None:
                raise Refused(404, "EntryNotFound")
        for path, content in push.small.items():
            _put(files, path, (content, False))
        for path, content in push.large.items():
            _put(files, path, (content, True))
        return files


def _inside(files: dict[str, File], folder: str) -> list[str]:
    return [path for path in files if path.startswith(f"{folder}/")]


def _put(files: dict[str, File], path: str, file: File) -> None:
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    if _inside(files, path) or any(folder in files for folder in above):
        raise Refused(400)
    files[path] = file


def _room_for_ref(known: dict[str, str], name: str) -> None:
    if any(it == name or it.startswith(f"{name}/") or name.startswith(f"{it}/") for it in known):
        raise Refused(409)


class Operations(RuleBasedStateMachine):
    """One user, up to three repositories. `server` and `numbers` are shared by all runs."""

    server: ContentServer
    numbers: Iterator[int]

    def __init__(self) -> None:
        super().__init__()
        self.user = f"user{next(self.numbers)}"
        self.token = self.server.user(self.user)
        self.repos: dict[str, Model] = {}
        self.moved: dict[str, Model] = {}
        self.last: tuple[Model, str, Push, str] | None = None

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

    def own(self, name: str) -> Model:
        if name not in self.repos:
            raise Refused(404, "RepoNotFound")
        return self.repos[name]

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

    @rule(name=names)
    def create(self, name: str) -> None:
        answer = self.ask("/api/repos/create", method="POST", body={"name": name})
        self.check(answer, Refused(409) if name in self.repos else None)
        if name not in self.repos:
            self.moved.pop(name, None)
            oid = self.api(name).json["sha"]
            first = Made(files={}, title="initial commit", parent=None)
            self.repos[name] = Model(commits={oid: first}, branches={MAIN: oid})

    @precondition(lambda self: self.repos)
    @rule(name=names, to=names)
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

    @precondition(lambda self: len(self.repos) == len(NAMES))
    @rule(name=names)
    def delete(self, name: str) -> None:
        answer = self.ask("/api/repos/delete", method="DELETE", body={"name": name})
        self.check(answer, None)
        gone = self.repos.pop(name)
        self.moved = {old: model for old, model in self.moved.items() if model is not gone}

    @precondition(lambda self: self.repos)
    @rule(name=names, to=names)
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

    @rule(license=st.sampled_from(("mit", "bsl-1.0")))
    def list_by_licence(self, license: str) -> None:
        query = urlencode({"author": self.user, "filter": f"license:{license}"})
        card = next(it for it in CARDS if license.encode() in it)
        expected = {
            f"{self.user}/{name}"
            for name, model in self.repos.items()
            if model.commits[model.head(MAIN)].files.get("README.md", (b"",))[0] == card
        }
        assert {it["id"] for it in self.ask(f"/api/models?{query}").json} == expected

    # Commits

    @precondition(lambda self: self.repos)
    @rule(
        name=names,
        branch=st.one_of(st.just(MAIN), branches),
        small=small_files,
        card=cards,
        large=large_files,
        deleted=st.lists(st.sampled_from(PATHS), max_size=1),
        folders_deleted=st.lists(st.sampled_from(FOLDERS), max_size=1),
        parent=st.one_of(st.none(), st.just(MAIN), st.integers(0, 30)),
    )
    def commit(
        self,
        name: str,
        branch: str,
        small: dict[str, bytes],
        card: dict[str, bytes],
        large: dict[str, int],
        deleted: list[str],
        folders_deleted: list[str],
        parent: str | int | None,
    ) -> None:
        if not any((small, card, large, deleted, folders_deleted)):
            return
        try:
            model = self.find(name)
            resolved = None if parent is None else model.resolve(self.revision(name, parent))
        except Refused:
            return
        contents = {path: LARGE[number] for path, number in large.items()}
        self.upload(name, list(contents.values()))
        push = Push(
            title=f"commit {next(self.numbers)}",
            small=small | card,
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

    @precondition(lambda self: self.repos)
    @rule(name=names, content=large_contents)
    def upload_and_commit_later(self, name: str, content: int) -> None:
        if name in self.repos:
            self.upload(name, [LARGE[content]])

    @precondition(lambda self: self.last)
    @rule()
    def repeat_the_last_commit(self) -> None:
        """Whose answer was lost: there is no twin."""
        assert self.last
        model, branch, push, made = self.last
        name = next((name for name, it in self.repos.items() if it is model), None)
        if name is not None and model.branches.get(branch) == made:
            answer = self.send(name, branch, push)
            self.check(answer, None)
            assert answer.json["commitOid"] == made

    @precondition(lambda self: self.repos)
    @rule(name=names, branch=branches)
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

    @precondition(lambda self: self.repos)
    @rule(name=names, branch=branches, start=revisions)
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
            _room_for_ref(model.branches, branch)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        model.branches[branch] = target

    @precondition(lambda self: self.repos)
    @rule(name=names, branch=branches)
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

    @precondition(lambda self: self.repos)
    @rule(name=names, tag=tags, start=revisions, message=st.sampled_from((None, "¡ya está!")))
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
            _room_for_ref(model.tags, tag)
        except Refused as refused:
            self.check(answer, refused)
            return
        self.check(answer, None)
        model.tags[tag] = oid

    @precondition(lambda self: self.repos)
    @rule(name=names, tag=tags)
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

    @precondition(lambda self: self.repos)
    @rule(name=names, wanted=revisions, path=st.sampled_from((*PATHS, "README.md")), part=st.booleans())
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
        assert answer.headers["x-repo-commit"] == oid
        if part and len(content) > 1:
            assert (answer.status, answer.body) == (206, content[1:10_000])
        elif part:
            assert answer.status in (200, 416)
        else:
            assert (answer.status, answer.body) == (200, content)

    @precondition(lambda self: self.repos)
    @rule(name=names, wanted=revisions)
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

    @precondition(lambda self: self.repos)
    @rule(name=names, wanted=revisions)
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
        found = [(it["id"], it["title"]) for it in answer.json]
        assert found == [(oid, made.title) for oid, made in model.history(oid)]

    # Upkeep

    @rule()
    def collect_garbage(self) -> None:
        """Twice, for what the first time took out of reach."""
        for _ in range(2):
            collect(self.server.hub, older_than=timedelta(0))

    @invariant()
    def names_and_refs_are_as_they_should_be(self) -> None:
        listed = self.ask(f"/api/models?author={self.user}").json
        assert {it["id"] for it in listed} == {f"{self.user}/{name}" for name in self.repos}
        for name in NAMES:
            answer = self.api(name, "/refs")
            try:
                model = self.find(name)
            except Refused as refused:
                self.check(answer, refused)
                continue
            for kind, known in (("branches", model.branches), ("tags", model.tags)):
                assert {it["name"]: it["targetCommit"] for it in answer.json[kind]} == known

    def teardown(self) -> None:
        """Everything that a ref leads to is there, byte for byte."""
        for name, model in self.repos.items():
            for oid, made in model.commits.items():
                for path, (content, _) in made.files.items():
                    assert self.ask(f"/{self.user}/{name}/resolve/{oid}/{quote(path)}").body == content
        assert verify(self.server.hub) == []
        super().teardown()


def test_any_order_of_operations_does_what_a_plain_model_says(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        machine = type("Operations", (Operations,), {"server": server, "numbers": count(1)})
        many = settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=many)
    for bare in (tmp_path / "data" / "git").glob("*/*.git"):
        command = ["git", "--git-dir", bare, "fsck", "--strict", "--full", "--no-dangling", "--no-progress"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
