"""The handler's process inherits what it needs and no secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lanza.engines.base import EngineOptions
from lanza.engines.handler.environment import handler_environment, installer_environment
from lanza.models.facts import FolderKind, ModelFacts

OURS = {
    "PATH": "/bin",
    "HOME": "/home/ana",
    "LC_ALL": "es_ES.UTF-8",
    "HF_HOME": "/cache",
    "HF_HUB_OFFLINE": "1",
    "HF_TOKEN": "hf_secret",
    "HF_HUB_TOKEN": "hf_secret",
    "HUGGING_FACE_HUB_TOKEN": "hf_secret",
    "HF_TOKEN_PATH": "/home/ana/token",
    "LANZA_ADMIN_TOKEN": "secret",
    "LANZA_HOME": "/var/lanza",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PYTHONPATH": "/somewhere",
    "PIP_INDEX_URL": "https://user:secret@index.example/simple",
    "HTTPS_PROXY": "http://proxy.example",
}


def options(path: Path = Path("/models/becas"), **more: Any) -> EngineOptions:
    facts = ModelFacts(path=path, kind=FolderKind.HANDLER, files=(), task="translation")
    return EngineOptions(facts=facts, task=None, why="", **more)


def test_only_what_is_needed_gets_through() -> None:
    assert handler_environment(options(), OURS) == {
        "PATH": "/bin",
        "HOME": "/home/ana",
        "LC_ALL": "es_ES.UTF-8",
        "HF_HOME": "/cache",
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN_PATH": os.devnull,
        "HF_MODEL_DIR": "/models/becas",
        "HF_MODEL_ID": "/models/becas",
        "HF_TASK": "translation",
    }


def test_what_the_user_asks_for_comes_last() -> None:
    given = {"HF_TOKEN": "hf_theirs", "HF_TASK": "custom", "OMP_NUM_THREADS": "7"}
    made = handler_environment(options(environment=given, threads=2), OURS)
    assert given.items() <= made.items()


def test_models_that_a_folder_brings_along_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / ".hub").mkdir()
    made = handler_environment(options(tmp_path), {})
    assert (made["HF_HUB_CACHE"], made["HF_HUB_OFFLINE"]) == (str(tmp_path.resolve() / ".hub"), "1")
    asked = handler_environment(options(tmp_path, environment={"HF_HUB_OFFLINE": "0"}), {})
    assert asked["HF_HUB_OFFLINE"] == "0"


def test_threads_are_told() -> None:
    assert handler_environment(options(threads=2), OURS)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in handler_environment(options(), OURS)


def test_pip_gets_its_own_settings_and_no_token() -> None:
    made = installer_environment(OURS)
    assert made["PIP_INDEX_URL"] == OURS["PIP_INDEX_URL"]
    assert made["HTTPS_PROXY"] == "http://proxy.example"
    assert not {name for name in made if "TOKEN" in name or name.startswith(("LANZA", "AWS", "PYTHON"))}


@pytest.mark.parametrize("name", ["Path", "SystemRoot"])
def test_names_of_windows_differ_in_case(name: str) -> None:
    assert handler_environment(options(), {name: "x"})[name] == "x"
