"""What of a requirements.txt is installed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanza.engines.handler.requirements import environment_key, read_requirements
from lanza.errors import ModelError


def write(folder: Path, text: bytes) -> Path:
    (folder / "requirements.txt").write_bytes(text)
    return folder


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# nothing yet\n   # and here\n", b"\xef\xbb\xbf\n"])
def test_an_empty_list_needs_no_environment(tmp_path: Path, text: bytes) -> None:
    assert read_requirements(tmp_path) is None
    assert read_requirements(write(tmp_path, text)) is None


@pytest.mark.parametrize(
    "line",
    [
        "requests>=2",
        "--index-url https://index.example/simple\nfoo",
        "--no-index\n--find-links ./wheels\nfoo==1",
        "./wheels/foo-1-py3-none-any.whl",
        "foo @ https://example.org/foo-1-py3-none-any.whl",
        "rich[jupyter] ; python_version > '3.10'",
        "--require-hashes\nfoo==1 --hash=sha256:00",
        "charset-normalizer",
        "--extra-index-url https://index.example/simple\nfoo",
    ],
)
def test_packages_and_where_to_find_them_are_taken(tmp_path: Path, line: str) -> None:
    assert read_requirements(write(tmp_path, line.encode())) == line


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "-rother.txt",
        "--requirement=../../etc/passwd",
        "  --requirement x",
        "-c constraints.txt",
        "--constraint=c.txt",
        "-e .",
        "-e.",
        "--editable=git+https://example.org/x",
    ],
)
def test_lines_that_pull_in_other_files_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ModelError, match="write the requirements themselves"):
        read_requirements(write(tmp_path, f"requests\n{line}\n".encode()))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="UTF-8"):
        read_requirements(write(tmp_path, b"\xff\xfe"))
    with pytest.raises(ModelError, match="no list of packages"):
        read_requirements(write(tmp_path, b"a\n" * 2**20))


def test_another_text_is_another_environment() -> None:
    assert environment_key("a==1") == environment_key("a==1") != environment_key("a==2")
