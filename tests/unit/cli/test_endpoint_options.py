"""What options, files and names mean for an endpoint, before any server is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from lanza.cli.context import Context
from lanza.cli.endpoints import address
from lanza.cli.endpoints.address import endpoint_of, row_of
from lanza.cli.endpoints.model import folder_of, name_of, repository_in
from lanza.cli.endpoints.options import Access
from lanza.cli.endpoints.tree import allowed_in, lay_over, read_tree
from lanza.cli.endpoints.variables import pairs, read_file
from lanza.cli.endpoints.waiting import stands_still, wait_for
from lanza.errors import BadRequest, DeadlineExceeded, UsageError

SERVER = "http://127.0.0.1:8420"


def laid(tree: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    tree = {} if tree is None else tree
    lay_over(tree, **options)
    return tree


def written(folder: Path, text: str) -> Path:
    path = folder / "file"
    path.write_text(text, encoding="utf-8")
    return path


# Variables


def test_pairs_have_a_value_or_take_it_from_here() -> None:
    found = pairs("--env", ["A=1", "B=x=y", "C", "D="], {"C": "from here", "A": "not this"})
    assert found == {"A": "1", "B": "x=y", "C": "from here", "D": ""}


@pytest.mark.parametrize("given", ["=1", "", "ABSENT"])
def test_a_pair_that_is_none_says_what_to_write(given: str) -> None:
    with pytest.raises(UsageError, match="--secret"):
        pairs("--secret", [given], {})


def test_a_file_of_variables(tmp_path: Path) -> None:
    text = "# keys\n\nA=1\nexport B = two words  # a remark\nC='# kept '\nD=\"q\"\nE=\nF=http://x/#y\n"
    assert read_file(written(tmp_path, text)) == {
        "A": "1",
        "B": "two words",
        "C": "# kept ",
        "D": "q",
        "E": "",
        "F": "http://x/#y",
    }


def test_a_line_that_is_no_variable_is_numbered_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2") as raised:
        read_file(written(tmp_path, "A=1\ns3cr3t\n"))
    assert "s3cr3t" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_file(tmp_path / "nothing")
    (tmp_path / "latin").write_bytes(b"A=\xe9\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(tmp_path / "latin")


# Names


def test_a_name_with_a_namespace_asks_nobody() -> None:
    one = endpoint_of("ana/becas-qa", SERVER)
    assert (one.namespace, one.name, str(one)) == ("ana", "becas-qa", "ana/becas-qa")


def test_a_name_alone_is_in_your_own_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "own_namespace", lambda server: "ana")
    assert str(endpoint_of("becas-qa", SERVER)) == "ana/becas-qa"


@pytest.mark.parametrize("given", ["", "/", "/becas", "ana/", "a/b/c"])
def test_what_is_no_name(given: str) -> None:
    with pytest.raises(UsageError, match="is no endpoint"):
        endpoint_of(given, SERVER)


def test_names_are_quoted_in_paths() -> None:
    one = address.Endpoint(server=Context(url=SERVER), namespace="a?b", name="c#d")
    assert one.path_of("logs") == "/api/lanza/endpoints/a%3Fb/c%23d/logs"


@pytest.mark.parametrize(
    ("repository", "name"),
    [("ana/Becas_QA.v2", "becas-qa-v2"), ("ana/---", "model"), ("ñandú", "and"), ("x" * 99, "x" * 64)],
)
def test_an_endpoint_is_called_after_its_model(repository: str, name: str) -> None:
    assert name_of(repository) == name


def test_a_line_of_ps() -> None:
    found = {
        "name": "becas",
        "type": "protected",
        "status": {"state": "failed", "message": "one\ntwo", "readyReplica": 0, "targetReplica": 1},
        "compute": {"instanceType": "cpu", "instanceSize": "x1"},
        "model": {"repository": "ana/becas"},
    }
    row = row_of(found)
    assert (row["ready"], row["hardware"], row["message"]) == ("0/1", "cpu x1", "one")


# The model


def test_a_folder_and_a_repository_are_told_apart(tmp_path: Path) -> None:
    assert folder_of(str(tmp_path)) == tmp_path
    assert folder_of("ana/becas-qa") is None
    assert folder_of("becas-qa") is None


@pytest.mark.parametrize(
    "given", ["./nothing", "/nothing", "~nobody/x", "https://huggingface.co/a/b", "a/b/c", ""]
)
def test_what_is_neither(given: str) -> None:
    with pytest.raises(UsageError, match="neither a folder nor"):
        folder_of(given)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a file"):
        folder_of(str(written(tmp_path, "{}")))


def test_the_model_of_a_file() -> None:
    assert repository_in({"model": {"repository": "ana/becas"}}, "deploy") == "ana/becas"
    with pytest.raises(UsageError, match="lanza deploy namespace/name"):
        repository_in({}, "deploy")


def test_a_typing_error_in_a_file_is_named() -> None:
    with pytest.raises(BadRequest, match="repositroy"):
        repository_in({"model": {"repositroy": "ana/becas"}}, "deploy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: ana/becas\n", "repository: namespace/name"),
        ("compute: x1\n", "`compute` has fields"),
        ("compute:\n  scaling: 3\n", "`scaling` has fields"),
        ("budget: 5\n", "`budget` has fields"),
    ],
)
def test_a_value_where_fields_belong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_tree(written(tmp_path, text))


# Options over a file


def test_what_is_not_said_is_not_there() -> None:
    assert laid() == {}


def test_options_are_laid_over_what_a_file_says() -> None:
    tree = {"type": "public", "model": {"repository": "ana/a", "env": {"A": "1"}}, "tags": ["x"]}
    assert laid(tree, access=Access.PRIVATE, revision="v2", repository="ana/b", size="x2", idle=5) == {
        "type": "private",
        "model": {"repository": "ana/b", "revision": "v2", "env": {"A": "1"}},
        "tags": ["x"],
        "compute": {"instanceSize": "x2", "scaling": {"scaleToZeroTimeout": 5}},
    }


@pytest.mark.parametrize(
    ("minimum", "maximum", "allowed", "scaling"),
    [
        (0, None, 1, {"minReplica": 0}),
        (3, None, 1, {"minReplica": 3, "maxReplica": 3}),
        (2, None, 5, {"minReplica": 2}),
        (2, 4, 1, {"minReplica": 2, "maxReplica": 4}),
        (None, 2, 5, {"maxReplica": 2}),
    ],
)
def test_a_minimum_raises_the_maximum_and_never_lowers_it(
    minimum: int | None, maximum: int | None, allowed: int, scaling: dict[str, int]
) -> None:
    found = laid(minimum=minimum, maximum=maximum, allowed=allowed)
    assert found == {"compute": {"scaling": scaling}}


def test_how_many_a_spec_allows() -> None:
    assert allowed_in({"compute": {"scaling": {"maxReplica": 4}}}) == 4
    assert allowed_in({"model": {}}) == 1


def test_a_minimum_above_the_maximum() -> None:
    with pytest.raises(UsageError, match="--min 3 is more than --max 2"):
        laid(minimum=3, maximum=2)


@pytest.mark.parametrize("idle", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time_is_no_idle_time(idle: float) -> None:
    with pytest.raises(UsageError, match="--idle"):
        laid(idle=idle)


@pytest.mark.parametrize(
    ("text", "amount", "period"),
    [("5", 5.0, "month"), ("$2.5/day", 2.5, "day"), ("50/total", 50.0, "total")],
)
def test_budgets(text: str, amount: float, period: str) -> None:
    assert laid(budget=text) == {"budget": {"amount": amount, "period": period}}


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "five", "5/week", "5/", "/day"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="--budget wants dollars"):
        laid(budget=text)


def test_a_span_of_time_becomes_a_moment() -> None:
    assert laid(expires="12h")["expires"].endswith("+00:00")
    with pytest.raises(UsageError, match="--expires"):
        laid(expires="yesterday")


@pytest.mark.parametrize(("state", "still"), [("paused", True), ("failed", True), ("running", False)])
def test_what_stands_still(state: str, still: bool) -> None:
    assert stands_still({"status": {"state": state}}) is still


def waiting(monkeypatch: pytest.MonkeyPatch, get: Any) -> address.Endpoint:
    monkeypatch.setattr(address.Endpoint, "get", get)
    return address.Endpoint(server=Context(url=SERVER), namespace="ana", name="becas")


def test_who_stops_waiting_is_told_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: address.Endpoint) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        wait_for(waiting(monkeypatch, interrupted), seconds=9, quiet=True)
    assert ended.value.exit_code == 130
    assert "It goes on; `lanza show ana/becas`" in capsys.readouterr().err


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"state": "pending", "message": "no core is free."}
    endpoint = waiting(monkeypatch, lambda self: {"status": status})
    with pytest.raises(DeadlineExceeded, match=r"still pending after 0 s: no core is free\. It goes on"):
        wait_for(endpoint, seconds=0, quiet=True)
