"""`python -m lanza.convert.prepare`: what a supervisor is told about a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lanza.convert.prepare import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "becas-qa"


def told(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, list[dict[str, object]]]:
    status = main(list(arguments))
    return status, [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]


def test_a_folder_that_is_ready(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, [*_, last] = told(capfdbinary, str(EXAMPLE), str(tmp_path))
    assert status == 0
    prepared = last["prepared"]
    assert isinstance(prepared, dict)
    assert (prepared["engine"], prepared["task"], prepared["graph"]) == ("onnx", "question-answering", None)
    assert prepared["needs"] > 100 * 2**20


def test_a_handler_says_nothing_of_its_needs(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "handler.py").write_text("class EndpointHandler: ...\n")
    _, [answer] = told(capfdbinary, str(tmp_path), str(tmp_path / "store"))
    assert answer == {
        "prepared": {
            "engine": "handler",
            "why": "the folder has a handler.py, which says how to serve it",
            "task": None,
            "graph": None,
            "needs": 0,
        }
    }


def test_the_task_of_a_handler_is_its_own_business(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`custom` is what Hugging Face's clients call it."""
    (tmp_path / "handler.py").write_text("class EndpointHandler: ...\n")
    _, [answer] = told(capfdbinary, str(tmp_path), str(tmp_path / "store"), "--task", "custom")
    prepared = answer["prepared"]
    assert isinstance(prepared, dict)
    assert (prepared["engine"], prepared["task"]) == ("handler", None)


def test_a_reason_names_no_folder_of_the_server(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    _, [last] = told(capfdbinary, str(tmp_path), str(tmp_path / "store"))
    assert "nothing in the model's folder tells what it is for" in str(last["error"])
    assert str(tmp_path) not in str(last["error"])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--task", "custom"], "model"),
        (["--task", "no-such-task"], "usage"),
        (["--engine", "handler"], "model"),
    ],
)
def test_what_cannot_be_served_is_an_error(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], options: list[str], code: str
) -> None:
    status, [last] = told(capfdbinary, str(EXAMPLE), str(tmp_path), *options)
    assert (status, last["code"]) == (1, code)
    assert last["error"]


def test_a_folder_that_is_not_there(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    status, [last] = told(capfdbinary, str(tmp_path / "none"), str(tmp_path))
    assert (status, last["code"]) == (1, "model")
