"""`huggingface-cli` in `lanza shell`: what each verb becomes, and how the commands get onto the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lanza.cli.shims import write_shims
from lanza.cli.shims.huggingface_cli import translate
from lanza.errors import UsageError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("upload ana/becas . --commit-message x", "upload ana/becas . --commit-message x"),
        ("download ana/becas --local-dir d", "download ana/becas --local-dir d"),
        ("download a/b --resume-download --local-dir-use-symlinks False x", "download a/b x"),
        ("download a/b --local-dir-use-symlinks=False x", "download a/b x"),
        ("upload-large-folder a/b dir", "upload a/b dir"),
        ("logout", "auth logout"),
        ("auth list", "auth list"),
        ("repo delete a/b", "repos delete a/b"),
        ("repo-files delete a/b x.txt", "repos delete-files a/b x.txt"),
        ("scan-cache", "cache ls"),
        ("version", "version"),
        ("", "--help"),
        ("--help", "--help"),
    ],
)
def test_a_verb_becomes_the_one_that_took_its_place(old: str, new: str) -> None:
    assert translate(old.split()) == new.split()


@pytest.mark.parametrize("words", ["lfs-enable-largefiles .", "delete-cache", "repo"])
def test_a_verb_without_successor_is_said_to_be_gone(words: str) -> None:
    with pytest.raises(UsageError, match="hf --help"):
        translate(words.split())


def test_writing_the_shims_twice_changes_nothing(tmp_path: Path) -> None:
    folder = write_shims(tmp_path / "shims")
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert {path.name: path.stat().st_ino for path in write_shims(folder).iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_shim_runs_and_says_what_it_became(tmp_path: Path) -> None:
    done = subprocess.run(
        [write_shims(tmp_path) / "huggingface-cli", "delete-cache"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "hf --help" in done.stderr
