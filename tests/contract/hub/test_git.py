"""git and git-lfs as they come from Debian, against the real server."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from hubs import User

pytestmark = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


def git(user: User, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return user.run("git", *arguments, cwd=cwd, check=check)


def prepare(user: User) -> None:
    """What a user does once: a name, git-lfs, and a credential helper that knows the token."""
    home = user.home
    git(user, "config", "--global", "user.name", user.name, cwd=home)
    git(user, "config", "--global", "user.email", f"{user.name}@example.org", cwd=home)
    git(user, "config", "--global", "credential.helper", "store", cwd=home)
    host = user.url.removeprefix("http://")
    (home / ".git-credentials").write_text(f"http://{user.name}:{user.token}@{host}\n")
    git(user, "lfs", "install", cwd=home)


@pytest.mark.parametrize("suffix", ["", ".git"])
def test_clone_change_push_and_clone_again(ana: User, folder: Path, suffix: str, tmp_path: Path) -> None:
    prepare(ana)
    repo = f"{ana.name}/becas"
    ana.api().create_repo(repo, private=True)
    ana.api().upload_folder(repo_id=repo, folder_path=folder)
    git(ana, "clone", "-q", f"{ana.url}/{repo}{suffix}", "one", cwd=tmp_path)
    one = tmp_path / "one"
    assert (one / "pesos.bin").read_bytes() == (folder / "pesos.bin").read_bytes()
    (one / "nuevo.bin").write_bytes(b"\x00\x01" * 3_000_000)
    (one / "nota.txt").write_text("hola\n")
    git(ana, "lfs", "track", "*.bin", cwd=one)
    git(ana, "add", "-A", cwd=one)
    git(ana, "commit", "-qm", "desde git", cwd=one)
    git(ana, "push", "-q", "origin", "main", cwd=one)
    git(ana, "clone", "-q", f"{ana.url}/{repo}{suffix}", "two", cwd=tmp_path)
    two = tmp_path / "two"
    digest = hashlib.sha256((one / "nuevo.bin").read_bytes()).hexdigest()
    assert hashlib.sha256((two / "nuevo.bin").read_bytes()).hexdigest() == digest
    assert git(ana, "fsck", "--strict", cwd=two).stderr.strip() in (
        "",
        "notice: HEAD points to an unborn branch",
    )
    assert ana.api().list_repo_commits(repo)[0].title == "desde git"
    info = ana.api().get_paths_info(repo, ["nuevo.bin"])[0]
    assert info.lfs is not None
    assert info.lfs.sha256 == digest


def test_without_a_token_a_private_repository_is_not_there(ana: User, tmp_path: Path) -> None:
    repo = f"{ana.name}/becas"
    ana.api().create_repo(repo, private=True)
    done = git(ana, "clone", f"{ana.url}/{repo}", "one", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "one").exists()


def test_a_pointer_to_nothing_is_refused(ana: User, tmp_path: Path) -> None:
    prepare(ana)
    repo = f"{ana.name}/becas"
    ana.api().create_repo(repo)
    git(ana, "clone", "-q", f"{ana.url}/{repo}", "one", cwd=tmp_path)
    one = tmp_path / "one"
    (one / "falso.txt").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n"
    )
    git(ana, "add", "-A", cwd=one)
    git(ana, "commit", "-qm", "falso", cwd=one)
    done = git(ana, "push", "origin", "main", cwd=one, check=False)
    assert done.returncode != 0
    assert "falso.txt" in done.stderr
    assert not ana.api().file_exists(repo, "falso.txt")


def test_a_push_from_behind_is_refused(ana: User, tmp_path: Path) -> None:
    prepare(ana)
    repo = f"{ana.name}/becas"
    ana.api().create_repo(repo)
    git(ana, "clone", "-q", f"{ana.url}/{repo}", "one", cwd=tmp_path)
    ana.api().upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    one = tmp_path / "one"
    (one / "y.txt").write_text("y")
    git(ana, "add", "-A", cwd=one)
    git(ana, "commit", "-qm", "y", cwd=one)
    assert git(ana, "push", "origin", "main", cwd=one, check=False).returncode != 0
    git(ana, "pull", "-q", "--rebase", cwd=one)
    git(ana, "push", "-q", "origin", "main", cwd=one)
    assert ana.api().file_exists(repo, "y.txt")
