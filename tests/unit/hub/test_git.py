"""The git repositories of the Hub: commits, revisions, refs, and what a crash leaves."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lanza.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    PreconditionFailed,
    RepoNotFound,
    RevisionNotFound,
)
from lanza.hub import maintenance, refs
from lanza.hub.git import (
    Commit,
    Copy,
    Delete,
    DeleteFolder,
    GitRepo,
    GitStore,
    Put,
    PutLarge,
)
from lanza.hub.trees import DEEPEST

SHA256 = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> GitStore:
    seconds = itertools.count(1_800_000_000)
    return GitStore(tmp_path / "git", clock=lambda: next(seconds))


@pytest.fixture
def repo(store: GitStore) -> GitRepo:
    return store.create(7, author="ana")


def put(
    repo: GitRepo, *changes: Put | PutLarge | Copy | Delete | DeleteFolder, branch: str = "main"
) -> Commit:
    return repo.commit(branch, changes, author="ana", title="a change")


def paths(repo: GitRepo, commit: Commit, folder: str = "", *, recursive: bool = True) -> list[str]:
    return [entry.path for entry in repo.entries(commit, folder, recursive=recursive)]


def run_git(repo: GitRepo, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", str(repo.folder), *arguments], capture_output=True, text=True, timeout=60
    )
    return done.stdout + done.stderr


def fsck(repo: GitRepo) -> str:
    return run_git(repo, "fsck", "--strict", "--full")


def test_a_new_repository_has_one_commit_that_says_what_is_large(repo: GitRepo) -> None:
    commit = repo.resolve("main")
    assert (commit.title, commit.author, commit.parents) == ("initial commit", "ana", ())
    assert commit.date.timestamp() == 1_800_000_000
    entry = repo.entry(commit, ".gitattributes")
    assert entry is not None
    assert b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n" in repo.read(entry.oid)
    assert fsck(repo) == ""


def test_a_commit_holds_what_was_put(repo: GitRepo) -> None:
    commit = repo.commit(
        "main",
        [Put("a/b/c.txt", b"hola\n"), PutLarge("m.safetensors", SHA256, 3_000_000_000), Put("vacío", b"")],
        author="ana",
        title="one\nmore in the title",
        description="and\nmore",
    )
    assert paths(repo, commit) == [".gitattributes", "a", "a/b", "a/b/c.txt", "m.safetensors", "vacío"]
    assert (commit.title, commit.message) == ("one", "more in the title\n\nand\nmore")
    large = repo.entry(commit, "m.safetensors")
    assert large is not None
    assert large.lfs is not None
    assert (large.size, large.lfs.sha256, large.lfs.size) == (3_000_000_000, SHA256, 3_000_000_000)
    assert large.lfs.pointer_size == len(repo.read(large.oid))
    small = repo.entry(commit, "a/b/c.txt")
    assert small is not None
    assert (small.size, small.lfs, repo.read(small.oid)) == (5, None, b"hola\n")
    assert repo.resolve("main") == commit
    assert fsck(repo) == ""
    assert run_git(repo, "show", "main:a/b/c.txt") == "hola\n"


def test_folders_are_listed_one_at_a_time_or_all(repo: GitRepo) -> None:
    commit = put(repo, Put("a/x", b"1"), Put("a/b/y", b"2"), Put("a.txt", b"3"))
    assert paths(repo, commit, recursive=False) == [".gitattributes", "a.txt", "a"]
    assert paths(repo, commit, "a", recursive=False) == ["a/b", "a/x"]
    assert paths(repo, commit, "a") == ["a/b", "a/b/y", "a/x"]
    for missing in ("b", "a/x", "a/x/y"):
        with pytest.raises(EntryNotFound) as raised:
            repo.entries(commit, missing, recursive=True)
        assert raised.value.commit == commit.oid


def test_changes_apply_in_their_order(repo: GitRepo) -> None:
    first = put(repo, Put("a", b"file"), Put("b/c", b"1"), Put("b/d", b"2"))
    second = put(repo, Delete("a"), Put("a/x", b"in a folder"), DeleteFolder("b/"), Put("b", b"file now"))
    assert paths(repo, second) == [".gitattributes", "a", "a/x", "b"]
    entry = repo.entry(first, "b/c")
    assert entry is not None
    third = put(repo, Copy("again", entry.oid), Delete("a/x"))
    assert paths(repo, third) == [".gitattributes", "again", "b"]
    assert fsck(repo) == ""


def test_a_commit_that_changes_nothing_is_not_made(repo: GitRepo) -> None:
    first = put(repo, Put("a", b"1"))
    assert put(repo, Put("a", b"1")) == first
    assert put(repo, Put("a", b"2"), Put("a", b"1")) == first
    assert put(repo) == first


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Put("a/b", b""), BadRequest),
        (Put("d", b""), BadRequest),
        (Put("../x", b""), BadRequest),
        (Put(".git/config", b""), BadRequest),
        (Put("/".join("x" * (DEEPEST + 1)), b""), BadRequest),
        (Delete("missing"), EntryNotFound),
        (Delete("d"), EntryNotFound),
        (Delete("d/e/f"), EntryNotFound),
        (DeleteFolder("a"), EntryNotFound),
        (DeleteFolder("missing/"), EntryNotFound),
        (Copy("x", "0" * 40), EntryNotFound),
    ],
)
def test_a_change_that_cannot_be_leaves_all_as_it_was(
    repo: GitRepo, change: Put | Copy | Delete | DeleteFolder, error: type[Exception]
) -> None:
    before = put(repo, Put("a", b"1"), Put("d/e", b"2"))
    packs = len(list((repo.folder / "objects" / "pack").iterdir()))
    with pytest.raises(error):
        put(repo, Put("other", b"3"), change)
    assert repo.resolve("main") == before
    assert len(list((repo.folder / "objects" / "pack").iterdir())) == packs


def test_a_folder_cannot_be_copied_as_a_file(repo: GitRepo) -> None:
    with pytest.raises(EntryNotFound, match="no file"):
        put(repo, Copy("x", repo.resolve("main").tree))


def test_deep_folders_can_be_made_and_read(repo: GitRepo) -> None:
    path = "/".join("x" * DEEPEST)
    commit = put(repo, Put(path, b"deep"))
    assert paths(repo, commit)[-1] == path
    put(repo, Delete(path))
    assert fsck(repo) == ""


def test_a_commit_is_made_only_on_the_parent_that_it_names(repo: GitRepo) -> None:
    first = repo.resolve("main")
    second = repo.commit("main", [Put("a", b"1")], author="ana", title="t", parent=first.oid)
    with pytest.raises(PreconditionFailed, match="A commit has happened since"):
        repo.commit("main", [Put("a", b"2")], author="ana", title="t", parent=first.oid)
    with pytest.raises(PreconditionFailed):
        repo.commit("main", [Put("a", b"2")], author="ana", title="t", parent=second.oid[:6])
    third = repo.commit("main", [Put("a", b"2")], author="ana", title="t", parent=second.oid[:7].upper())
    assert third.parents == (second.oid,)


def test_a_commit_needs_a_branch(repo: GitRepo) -> None:
    repo.create_tag("v1", "main")
    for revision in ("missing", "v1", repo.resolve("main").oid, "../main", ""):
        with pytest.raises(RevisionNotFound):
            put(repo, Put("a", b"1"), branch=revision)


def test_of_commits_at_once_none_is_lost(store: GitStore, repo: GitRepo) -> None:
    def write(number: int) -> None:
        put(store.open(7), Put(f"{number}.txt", b"x"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    head = repo.resolve("main")
    assert len(paths(repo, head)) == 25
    assert len(repo.log(head, limit=100)) == 25
    assert fsck(repo) == ""


def test_titles_and_authors_may_be_anything(repo: GitRepo) -> None:
    commit = repo.commit(
        "main", [Put("a", b"1")], author="A <x>\n\0 B.", title=" \0\n", description="with\0 NUL \ud800"
    )
    assert (commit.title, commit.author, commit.message) == ("Change files", "A x B", "with  NUL ?")
    assert fsck(repo) == ""


def test_an_executable_stays_one_and_a_link_is_a_file(repo: GitRepo) -> None:
    put(repo, Put("run.sh", b"1"))
    tree = run_git(repo, "ls-tree", "main").replace("100644 blob", "100755 blob")
    blob = repo.entry(repo.resolve("main"), "run.sh")
    assert blob is not None
    tree += f"120000 blob {blob.oid}\tlink\n160000 commit {repo.resolve('main').oid}\tmodule\n"
    made = subprocess.run(
        ["git", "--git-dir", str(repo.folder), "mktree"], input=tree, capture_output=True, text=True
    ).stdout.strip()
    oid = run_git(
        repo, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-p", "main", "-m", "t", made
    ).strip()
    run_git(repo, "update-ref", "refs/heads/main", oid)
    assert paths(repo, repo.resolve("main")) == [".gitattributes", "link", "run.sh"]
    commit = put(repo, Put("run.sh", b"2"), Put("link", b"3"))
    modes = {entry.path: f"{entry.mode:o}" for entry in repo.entries(commit, recursive=True)}
    assert modes == {".gitattributes": "100755", "link": "100644", "run.sh": "100755"}
    assert repo.entry(commit, "module") is None


def test_revisions_are_branches_tags_ids_and_refs(repo: GitRepo) -> None:
    first = repo.resolve("main")
    repo.create_branch("dev/a", "main")
    second = put(repo, Put("a", b"1"), branch="dev/a")
    repo.create_tag("v1", "dev/a")
    repo.create_tag("v2", second.oid[:8], "a message", author="eva")
    assert {ref.name: ref.target for ref in repo.branches()} == {"main": first.oid, "dev/a": second.oid}
    assert [(ref.name, ref.ref, ref.target) for ref in repo.tags()] == [
        ("v1", "refs/tags/v1", second.oid),
        ("v2", "refs/tags/v2", second.oid),
    ]
    for revision in ("dev/a", "v1", "v2", "refs/heads/dev/a", "refs/tags/v2", second.oid, second.oid[:7]):
        assert repo.resolve(revision) == second
    assert repo.resolve("HEAD") == first
    assert "a message" in run_git(repo, "cat-file", "-p", "refs/tags/v2")
    assert fsck(repo) == ""


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "dev",
        "main~1",
        "main^{tree}",
        ":/initial",
        "HEAD@{0}",
        "@",
        "../config",
        "0" * 40,
        "abcdef",
        "a\0b",
        "\ud800",
    ],
)
def test_what_names_no_commit_is_not_found(repo: GitRepo, revision: str) -> None:
    put(repo, Put("a", b"1"))
    with pytest.raises(RevisionNotFound):
        repo.resolve(revision)


def test_ids_of_what_is_no_commit_are_not_found(repo: GitRepo) -> None:
    commit = repo.resolve("main")
    for oid in (commit.tree, commit.tree[:10], commit.oid[:6]):
        with pytest.raises(RevisionNotFound):
            repo.resolve(oid)


def test_refs_that_exist_are_not_made_again(repo: GitRepo) -> None:
    repo.create_branch("a/b")
    repo.create_tag("v1")
    for again in (
        lambda: repo.create_branch("a/b"),
        lambda: repo.create_tag("v1", "main", "other"),
        lambda: repo.create_branch("a"),
        lambda: repo.create_branch("a/b/c"),
    ):
        with pytest.raises(Conflict):
            again()
    with pytest.raises(RevisionNotFound):
        repo.create_branch("x", "missing")
    with pytest.raises(BadRequest):
        repo.create_branch("a..b")
    with pytest.raises(BadRequest):
        repo.create_tag("0" * 40)


def test_refs_can_be_removed_but_not_main(repo: GitRepo) -> None:
    repo.create_branch("a/b")
    repo.create_tag("v1")
    run_git(repo, "pack-refs", "--all")
    repo.delete_branch("a/b")
    repo.delete_tag("v1")
    repo.create_branch("a")
    assert [ref.name for ref in repo.branches()] == ["a", "main"]
    assert repo.tags() == []
    for gone in (lambda: repo.delete_branch("a/b"), lambda: repo.delete_tag("v1")):
        with pytest.raises(RevisionNotFound):
            gone()
    for name in ("main", "refs/heads/main"):
        with pytest.raises(BadRequest):
            repo.delete_branch(name)


def test_squash_keeps_the_files_and_drops_the_history(repo: GitRepo) -> None:
    before = put(repo, Put("a", b"1"))
    after = repo.squash("main", "all in one", "eva")
    assert (after.parents, after.tree, after.title, after.author) == ((), before.tree, "all in one", "eva")
    assert repo.log(repo.resolve("main"), limit=10) == [after]
    assert repo.survey().large == frozenset()


def test_the_log_goes_back_page_by_page(repo: GitRepo) -> None:
    made = [put(repo, Put("n", b"%d" % number)) for number in range(5)]
    head = made[-1]
    assert repo.log(head, limit=3) == made[:1:-1]
    assert repo.log(head, skip=3, limit=10)[:2] == made[1::-1]
    assert repo.log(head, skip=10, limit=10) == []


def test_the_last_change_of_files_and_folders_is_found(repo: GitRepo) -> None:
    one = put(repo, Put("a/x", b"1"), Put("b/y", b"1"), Put("z", b"1"))
    two = put(repo, Put("a/x", b"2"))
    three = put(repo, Put("z", b"2"), Put("b/new", b"1"))
    four = put(repo, Delete("b/new"))
    found = repo.last_changes(four, ["a", "a/x", "b", "b/y", "z", ".gitattributes", "missing", "a/missing"])
    assert {path: commit.oid for path, commit in found.items()} == {
        "a": two.oid,
        "a/x": two.oid,
        "b": four.oid,
        "b/y": one.oid,
        "z": three.oid,
        ".gitattributes": one.parents[0],
    }


def test_pointers_are_found_in_all_history_of_all_refs(repo: GitRepo) -> None:
    put(repo, PutLarge("a.bin", "aa" * 32, 1))
    repo.create_tag("v1", "main", "kept")
    repo.create_branch("dev")
    put(repo, PutLarge("d/b.bin", "bb" * 32, 2), branch="dev")
    put(repo, Delete("a.bin"))
    assert repo.survey().large == {"aa" * 32, "bb" * 32}
    repo.delete_branch("dev")
    assert repo.survey().large == {"aa" * 32}


def test_many_packs_are_put_together_and_nothing_is_lost(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [put(repo, Put("n", b"%d" % number)) for number in range(12)]
    packs = repo.folder / "objects" / "pack"
    assert len(list(packs.glob("*.pack"))) == 13
    monkeypatch.setattr(maintenance, "LEFTOVER_SECONDS", -1)
    for name in ("tmp_pack_1", "tmp_pack_1.idx"):
        (packs / name).write_bytes(b"left by a process that was killed")
    (repo.folder / "incoming-1" / "pack").mkdir(parents=True)
    maintenance.tidy(repo.folder, most=5)
    assert len(list(packs.glob("*.pack"))) < 5
    assert not list(packs.glob("tmp_*"))
    assert not list(repo.folder.glob("incoming-*"))
    assert repo.log(made[-1], limit=20)[:-1] == made[::-1]
    assert fsck(repo) == ""


def test_a_commit_succeeds_where_git_is_missing(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    maintenance.tidy(repo.folder, most=0)
    assert "install it" in caplog.text


def test_a_repository_is_removed_and_its_number_can_be_used_again(store: GitStore, repo: GitRepo) -> None:
    put(repo, Put("secret", b"1"))
    store.remove(7)
    store.remove(7)
    with pytest.raises(RepoNotFound):
        store.open(7)
    again = store.create(7, author="eva")
    assert paths(again, again.resolve("main")) == [".gitattributes"]
    put(again, Put("secret", b"1"))
    once_more = store.create(7, author="eva")
    assert paths(once_more, once_more.resolve("main")) == [".gitattributes"]
    assert [path.name for path in again.folder.parent.iterdir()] == ["7.git"]


def test_a_copy_has_everything_and_is_apart(store: GitStore, repo: GitRepo) -> None:
    head = put(repo, Put("a", b"1"))
    repo.create_tag("v1", "main", "message")
    run_git(repo, "pack-refs", "--all")
    repo.create_branch("dev")
    copy = store.copy(7, 2007)
    assert copy.folder == store.root / "2" / "2007.git"
    assert copy.resolve("v1") == copy.resolve("dev") == copy.resolve("main") == head
    put(copy, Put("b", b"2"))
    store.remove(7)
    assert paths(copy, copy.resolve("main")) == [".gitattributes", "a", "b"]
    assert fsck(copy) == ""
    with pytest.raises(RepoNotFound):
        store.copy(7, 8)


def test_a_lock_that_a_killed_process_left_is_taken_away(repo: GitRepo) -> None:
    lock = repo.folder / "refs" / "heads" / "main.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    put(repo, Put("a", b"1"))
    assert not lock.exists()


def test_a_young_lock_is_waited_for(repo: GitRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = repo.folder / "refs" / "heads" / "main.lock"
    lock.touch()
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        lock.unlink()

    monkeypatch.setattr(refs.time, "sleep", sleep)
    put(repo, Put("a", b"1"))
    assert waited


def test_a_writer_that_waits_too_long_is_told_to_come_again(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "PATIENCE", -1)
    with refs.writing(repo.folder), pytest.raises(refs.Unavailable, match="try again"):
        put(repo, Put("a", b"1"))


def test_a_commit_to_a_repository_that_was_removed_finds_none(store: GitStore, repo: GitRepo) -> None:
    store.remove(7)
    with pytest.raises(RepoNotFound):
        put(repo, Put("a", b"1"))
    assert not repo.folder.exists()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="open files are not listed here")
def test_repositories_that_nobody_looks_at_any_more_are_closed(store: GitStore) -> None:
    for number in range(20):
        store.create(number, author="ana")
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            repo = store.open(number)
            assert paths(repo, repo.resolve("main"))
            mapped = Path("/proc/self/maps").read_text().count(str(store.root))
            assert mapped <= 2, "a pack and its index, of the repository that is open"
    finally:
        gc.enable()


def test_what_is_written_is_there_before_the_ref_moves(
    repo: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repo.resolve("main")
    monkeypatch.setattr(refs.Refs, "move", fail(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        put(repo, Put("a", b"1"))
    monkeypatch.undo()
    assert repo.resolve("main") == before
    after = put(repo, Put("a", b"1"))
    assert after.parents == (before.oid,)
    assert "missing" not in fsck(repo)


@pytest.mark.parametrize("step", ["fsync", "rename", "chmod"])
def test_a_full_disk_leaves_nothing_behind(repo: GitRepo, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = repo.resolve("main")
    files = sorted(repo.folder.rglob("*"))
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        put(repo, Put("a", b"1"))
    monkeypatch.undo()
    assert repo.resolve("main") == before
    assert [path for path in sorted(repo.folder.rglob("*")) if path not in files] in (
        [],
        [repo.folder / "lanza.lock"],
    )


def fail(error: BaseException | type[BaseException]) -> Callable[..., None]:
    def stand_in(*_: object, **__: object) -> None:
        raise error

    return stand_in
