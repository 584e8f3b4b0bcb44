"""What no ref leads to goes in two steps; what a commit or a push that comes in needs stays."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

import hub_parts
from hub_parts import push
from hub_records import model
from lanza.auth import accounts
from lanza.errors import RepoNotFound, RevisionNotFound
from lanza.hub import repos
from lanza.hub.collect import collect
from lanza.hub.git import GitRepo, Put
from lanza.hub.hub import Hub
from lanza.hub.maintenance import tidy
from lanza.hub.pruning import prune
from lanza.hub.receive import Incoming

DAY = timedelta(days=1)
NONE = timedelta(0)
NOISE = os.urandom(50_000).hex().encode()


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """Ana has a model."""
    made = hub_parts.hub(tmp_path)
    repos.create(made, hub_parts.person(made, "ana"), model("ana/becas"))
    return made


@pytest.fixture
def number(hub: Hub) -> int:
    return hub_parts.record(hub, "ana/becas").id


def put(repo: GitRepo, path: str, content: bytes = NOISE) -> str:
    return repo.commit("main", [Put(path, content)], author="ana", title=path).oid


def left_behind(hub: Hub, number: int) -> str:
    """A commit that main has left, in a pack with others that are needed."""
    repo = hub.git.open(number)
    lost = put(repo, "lost.txt")
    repo.commit("main", [Put("lost.txt", b"small")], author="ana", title="less")
    subprocess.run(["git", "--git-dir", repo.folder, "repack", "-adq"], check=True)
    repo.squash("main", "all", "ana")
    return lost


def has(hub: Hub, number: int, oid: str) -> bool:
    try:
        return hub.git.open(number).resolve(oid).oid == oid
    except RevisionNotFound:
        return False


def make_older(folder: Path, days: float) -> None:
    """Make all that was set aside older, by what git notes of it: a head, a time for each, two checksums."""
    for path in folder.glob("objects/pack/*.mtimes"):
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        for at in range(12, len(data) - 40, 4):
            moment = int.from_bytes(data[at : at + 4], "big") - int(days * 86400)
            data[at : at + 4] = moment.to_bytes(4, "big")
        path.write_bytes(data)


def fsck(folder: Path) -> str:
    command = ["git", "--git-dir", folder, "fsck", "--full", "--strict", "--no-dangling", "--no-progress"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}"


def test_what_no_ref_leads_to_goes_a_grace_period_after_it_was_seen(hub: Hub, number: int) -> None:
    lost = left_behind(hub, number)
    folder = hub.git.folder(number)
    for path in folder.glob("objects/pack/*"):
        os.utime(path, (0, 0))  # it is old, but was of use until now
    for days in (0.0, 0.9):
        make_older(folder, days)
        assert collect(hub, older_than=DAY).git_bytes < 10_000
        assert has(hub, number, lost)
    make_older(folder, 0.2)
    stored = hub_parts.record(hub, "ana/becas").stored_bytes
    assert collect(hub, older_than=DAY).git_bytes > 50_000
    assert not has(hub, number, lost)
    assert hub_parts.record(hub, "ana/becas").stored_bytes < stored
    assert fsck(folder) == ""
    assert hub.git.open(number).survey().strays is False
    assert collect(hub, older_than=DAY).git_bytes == 0


def test_what_gets_a_ref_again_stays(hub: Hub, number: int) -> None:
    lost = left_behind(hub, number)
    collect(hub, older_than=DAY)
    make_older(hub.git.folder(number), 2)
    hub.git.open(number).create_branch("again", lost)
    left_behind(hub, number)
    collect(hub, older_than=DAY)
    assert has(hub, number, lost)
    assert fsck(hub.git.folder(number)) == ""


def test_tags_and_packs_that_are_put_together_change_nothing(hub: Hub, number: int) -> None:
    repo = hub.git.open(number)
    repo.create_tag("v1", put(repo, "a.txt"), "a version")
    kept = repo.resolve("v1").oid
    repo.squash("main", "all", "ana")
    assert repo.survey().strays is False
    lost = left_behind(hub, number)
    collect(hub, older_than=DAY)
    for count in range(3):
        put(repo, "b.txt", b"%d" % count)
    tidy(repo.folder, most=1)
    assert has(hub, number, lost)
    collect(hub, older_than=NONE)
    assert not has(hub, number, lost)
    assert has(hub, number, kept)
    assert fsck(repo.folder) == ""


def test_the_pack_of_a_commit_that_lost_the_race_goes(hub: Hub, number: int) -> None:
    repo = hub.git.open(number)
    main = repo.folder / "refs" / "heads" / "main"
    before = main.read_text()
    lost = put(repo, "a.txt")
    main.write_text(before)  # its move failed
    assert collect(hub, older_than=NONE).git_bytes > 50_000
    assert not has(hub, number, lost)
    assert len(list(repo.folder.glob("objects/pack/*.pack"))) == 1


def test_a_loose_object_that_nobody_needs_goes_too(hub: Hub, number: int) -> None:
    repo = hub.git.open(number)
    command = ["git", "--git-dir", repo.folder, "hash-object", "-w", "--stdin"]
    subprocess.run(command, input=NOISE, check=True, capture_output=True)
    collect(hub, older_than=DAY)
    assert not list(repo.folder.glob("objects/??/*"))
    assert hub.git.open(number).survey().strays is True
    collect(hub, older_than=NONE)
    assert hub.git.open(number).survey().strays is False


def test_nothing_goes_while_a_push_comes_in_that_may_build_upon_it(hub: Hub, number: int) -> None:
    lost = left_behind(hub, number)
    repo = hub.git.open(number)
    collect(hub, older_than=DAY)
    make_older(repo.folder, 2)
    incoming = Incoming(repo)
    collect(hub, older_than=DAY)
    assert has(hub, number, lost)
    incoming.close()
    collect(hub, older_than=DAY)
    assert not has(hub, number, lost)


def test_what_killed_pushes_left_goes_after_the_grace_period(hub: Hub, number: int) -> None:
    folder = hub.git.folder(number)
    left = folder / "incoming-1"
    (left / "pack").mkdir(parents=True)
    unfinished = folder / "objects" / "pack" / "tmp_pack_1"
    unfinished.write_bytes(NOISE)
    prune(folder, older_than=DAY)
    assert (left.exists(), unfinished.exists()) == (True, True)
    for path in (left, unfinished):
        os.utime(path, (0, 0))
    assert prune(folder, older_than=DAY) > 50_000
    assert (left.exists(), unfinished.exists()) == (False, False)


def test_a_branch_cannot_begin_at_what_was_pruned_since_its_repository_was_opened(
    hub: Hub, number: int
) -> None:
    lost = left_behind(hub, number)
    early = hub.git.open(number)
    assert early.resolve(lost).oid == lost
    collect(hub, older_than=NONE)
    with pytest.raises(RevisionNotFound):
        early.create_branch("again", lost)
    with pytest.raises(RevisionNotFound):
        early.create_tag("again", lost)
    assert fsck(early.folder) == ""


def test_without_git_nothing_is_pruned_and_the_log_says_so(
    hub: Hub, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost = left_behind(hub, number)
    monkeypatch.setenv("PATH", "")
    assert collect(hub, older_than=NONE).git_bytes == 0
    assert has(hub, number, lost)
    assert "install it" in caplog.text


def test_a_repository_that_is_removed_meanwhile_is_no_matter(
    hub: Hub, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(hub, number)

    def gone(folder: Path, *, older_than: timedelta) -> int:
        raise RepoNotFound("this repository was removed meanwhile.")

    monkeypatch.setattr("lanza.hub.collect.prune", gone)
    assert collect(hub, older_than=NONE).git_bytes == 0


# Folders


def forget(hub: Hub, name: str) -> None:
    """Remove an account, and not what goes with it."""
    with hub.database.writing() as session:
        accounts.remove(session, name)


def test_folders_of_repositories_that_are_no_more_go_after_the_grace_period(hub: Hub, number: int) -> None:
    repos.create(hub, hub_parts.person(hub, "eva"), model("eva/becas"))
    gone = hub.git.folder(hub_parts.record(hub, "eva/becas").id)
    forget(hub, "eva")
    assert collect(hub, older_than=DAY).folders == 0
    assert gone.exists()
    for folder in (gone, hub.git.folder(number)):
        os.utime(folder, (0, 0))
    assert collect(hub, older_than=DAY).folders == 1
    assert not gone.exists()
    assert has(hub, number, push(hub, number, {"a": b"a"}).oid)


def test_a_database_without_any_repository_removes_no_folder(hub: Hub, number: int) -> None:
    forget(hub, "ana")
    folder = hub.git.folder(number)
    os.utime(folder, (0, 0))
    assert collect(hub, older_than=DAY).folders == 0
    assert folder.exists()


def test_what_was_being_made_or_removed_when_its_process_died_goes(hub: Hub, number: int) -> None:
    folder = hub.git.folder(number)
    left = [folder.with_name(f"{folder.name}{mark}00") for mark in (".aside-", ".gone-")]
    for path in left:
        path.mkdir()
    collect(hub, older_than=DAY)
    assert all(path.exists() for path in left)
    for path in left:
        os.utime(path, (time.time() - 90_000,) * 2)
    collect(hub, older_than=DAY)
    assert not any(path.exists() for path in left)
