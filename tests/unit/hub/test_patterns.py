from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.hub.patterns import LARGE, Attributes, Ignore, with_large


@pytest.mark.parametrize(
    ("pattern", "path", "large"),
    [
        ("*.bin", "model.bin", True),
        ("*.bin", "deep/er/model.bin", True),
        ("*.bin", "model.bin.txt", False),
        ("model.bin", "deep/model.bin", True),
        ("/model.bin", "deep/model.bin", False),
        ("/model.bin", "model.bin", True),
        ("saved_model/**/*", "saved_model/a/b/c", True),
        ("saved_model/**/*", "saved_model/a", True),
        ("saved_model/**/*", "other/saved_model/a", False),
        ("saved_model/**", "saved_model/a/b", True),
        ("saved_model/**", "saved_model", False),
        ("**/weights/*", "a/b/weights/c", True),
        ("**/weights/*", "weights/c", True),
        ("**/weights/*", "weights/c/d", False),
        ("a/*/c", "a/b/c", True),
        ("a/*/c", "a/b/b/c", False),
        ("events.out.*", "runs/events.out.tfevents.1", True),
        ("*.tar.*", "x.tar.gz", True),
        ("[ab]?.bin", "a1.bin", True),
        ("[ab]?.bin", "c1.bin", False),
        ("[!ab].bin", "c.bin", True),
        ("[!ab].bin", "a.bin", False),
        ("[]x].bin", "].bin", True),
        ("[a-c].bin", "b.bin", True),
        ("my[[:space:]]model.bin", "my model.bin", True),
        (r"\*.bin", "*.bin", True),
        (r"\*.bin", "a.bin", False),
        ('"my model.bin"', "my model.bin", True),
        (r'"sm\303\266r.bin"', "smör.bin", True),
        ("[.bin", "[.bin", True),
        ("a**b", "a-any-b", True),
        ("folder/", "folder/file", False),
        ("*a*b*a*", "xaybzax", True),
        ("*ab*ba*", "aba", False),
    ],
)
def test_patterns_match_as_git_matches_them(pattern: str, path: str, large: bool) -> None:
    assert Attributes(f"{pattern} {LARGE}\n").large(path) is large


def test_the_last_line_that_speaks_of_the_filter_decides() -> None:
    rules = Attributes(
        "*.json filter=lfs diff=lfs merge=lfs -text\n"
        "config.json -filter\n"
        "*.json text eol=lf\n"
        "# *.py filter=lfs\n"
        "[attr]binary filter=lfs\n"
    )
    assert rules.large("tokenizer.json")
    assert not rules.large("config.json")
    assert not rules.large("train.py")


def test_no_pattern_takes_long() -> None:
    hard = "*a" * 120 + "b"
    assert not Attributes(f"{hard} {LARGE}\n").large("a" * 255)
    assert not Attributes(f"{'**/a/' * 100}b {LARGE}\n").large("/".join("a" * 1000))


def test_large_files_that_no_line_covers_get_one_each() -> None:
    text = f"*.bin {LARGE}"
    paths = ["a.bin", "tokenizer.json", "sub/my file[1].json", "#odd", '"quoted"']
    made = with_large(text, paths)
    assert made.startswith(text + "\n/tokenizer.json ")
    rules = Attributes(made)
    assert all(rules.large(path) for path in paths)
    assert not rules.large("sub/tokenizer.json")
    assert with_large(made, paths) == made


NAMES = st.text(st.sampled_from("ab*?[]\\! #\"'ñ{}-"), min_size=1, max_size=6).filter(
    lambda n: n.strip() == n
)


@given(st.lists(NAMES, min_size=1, max_size=3).map("/".join))
def test_a_line_covers_just_the_path_that_it_was_made_for(path: str) -> None:
    rules = Attributes(with_large("", [path]))
    assert rules.large(path)
    assert not rules.large(path + "x")
    assert not rules.large("x/" + path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
def test_git_reads_the_lines_that_we_write_as_we_do(tmp_path: Path) -> None:
    paths = ["a b.json", "sub/[x]*.json", "#top", "!bang", "ñandú.json", 'q"uote', "back*slash"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitattributes").write_text(with_large("", paths))
    asked = subprocess.run(
        ["git", "-C", tmp_path, "check-attr", "-z", "--stdin", "filter"],
        input="\0".join([*paths, "other.json"]).encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    values = asked.split("\0")[2::3]
    assert values == ["lfs"] * len(paths) + ["unspecified"]


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("*.pyc\n", "a/b.pyc", True),
        ("build/\n", "build/x/y", True),
        ("build/\n", "build", False),
        ("/out\n", "out/x", True),
        ("/out\n", "a/out", False),
        ("*.log\n!keep.log\n", "keep.log", False),
        ("*.log\n!keep.log\n", "other.log", True),
        ("logs/\n!logs/keep.log\n", "logs/keep.log", True),
        ("# nothing\n\n", "nothing", False),
        ("wandb", "wandb/run/x", True),
        ("a  \n", "a", True),
        ("doc/*.txt", "doc/a/b.txt", False),
    ],
)
def test_files_are_left_out_as_git_leaves_them_out(text: str, path: str, ignored: bool) -> None:
    assert Ignore(text).ignores(path) is ignored
