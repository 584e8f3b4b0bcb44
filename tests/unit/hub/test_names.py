"""Names that may be, and names that mislead: of accounts, repositories, files, branches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.auth.names import RESERVED, check_namespace
from lanza.errors import BadRequest
from lanza.hub.names import (
    LONGEST_PART,
    LONGEST_PATH,
    Kind,
    check_path,
    check_ref_name,
    check_repo_name,
    parse_repo,
)


def test_an_id_has_a_namespace_and_a_name() -> None:
    name = parse_repo(Kind.DATASET, "Ana/Becas")
    assert (name.namespace, name.name, name.id) == ("Ana", "Becas", "Ana/Becas")
    assert (name.key, name.path) == ("ana/becas", "datasets/Ana/Becas")
    assert parse_repo(Kind.MODEL, "gpt2").path == "gpt2"


@pytest.mark.parametrize("wrong", ["", "a/b/c", "a/", "/"])
def test_what_is_no_id_is_refused(wrong: str) -> None:
    with pytest.raises(BadRequest):
        parse_repo(Kind.MODEL, wrong)


@pytest.mark.parametrize("name", ["ana", "Ana-99", "a", "a.b_c-d", "x" * 96])
def test_usual_names(name: str) -> None:
    assert check_repo_name(name) == name
    assert check_namespace(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", ".a", "a.", "a--b", "a..b", "a b", "a/b", "ñ", "x" * 97])
def test_names_that_mislead(name: str) -> None:
    for check in (check_repo_name, check_namespace):
        with pytest.raises(BadRequest):
            check(name)


def test_names_that_are_addresses_or_endings() -> None:
    for name in [*RESERVED, "API", "Models"]:
        with pytest.raises(BadRequest, match="address of this server"):
            check_namespace(name)
    for name in ("x.git", "x.GIT", "x.ipynb"):
        with pytest.raises(BadRequest, match="cannot end with"):
            check_repo_name(name)


@pytest.mark.parametrize(
    "path",
    ["a", "a/b.txt", ".gitattributes", "año 2026/¿qué?.txt", "a/.github/x", "git", "…", "x" * LONGEST_PART],
)
def test_usual_paths(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".git/config",
        "a/.GIT/x",
        ".git./x",
        ".git /x",
        "git~1/x",
        ".g\u200cit/x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "\ud800",
        "x" * (LONGEST_PART + 1),
        "x/" * (LONGEST_PATH // 2) + "x",
    ],
)
def test_paths_that_lead_astray(path: str) -> None:
    with pytest.raises(BadRequest):
        check_path(path)


@given(st.text(max_size=40))
def test_a_path_that_passes_stays_within_the_repository(path: str) -> None:
    try:
        check_path(path)
    except BadRequest:
        return
    parts = path.split("/")
    assert all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
    assert "\x00" not in path


@pytest.mark.parametrize("name", ["main", "prueba/uno", "v1.0", "a+b", "user@host"])
def test_usual_refs(name: str) -> None:
    assert check_ref_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "/a", "a/", "a//b", "a..b", "a.lock", "a/b.lock", ".a", "a/.b", "a.", "@", "HEAD", "refs/x",
     "a b", "a~1", "a^", "a:b", "a@{1}", "0" * 40, "x" * 256],
)  # fmt: skip
def test_refs_that_git_refuses_or_takes_for_something_else(name: str) -> None:
    with pytest.raises(BadRequest):
        check_ref_name(name)
