"""What `lanza init handler` writes: by facts alone, nothing is run here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lanza.engines.handler.starter import init_handler, starter_for, write_handler
from lanza.errors import ModelError, UsageError
from lanza.models.facts import FolderKind, ModelFacts
from lanza.models.heads import TASKS


def facts(**more: object) -> ModelFacts:
    return ModelFacts(**{"path": Path("/m"), "kind": FolderKind.TRANSFORMERS, "files": (), **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_a_starter_that_is_python(task: str) -> None:
    text = write_handler(facts(task=task, max_positions=77, architecture='X"""'))
    tree = ast.parse(text)
    assert task in (ast.get_docstring(tree) or "")
    assert "class EndpointHandler" in text
    assert starter_for(facts(task=task)) != "unknown" or task == "visual-question-answering"
    assert "LIMIT = 512" not in text


def test_an_adapter_names_its_base_by_where_it_lies(tmp_path: Path) -> None:
    here = {
        "task": "text-generation",
        "path": tmp_path / "lora",
        "adapter": {"r": 4},
        "base_model": "ana/llm",
    }
    beside = write_handler(facts(**here, base_path=tmp_path / "base", weights=("adapter_model.bin",)))
    assert 'BASE = "../base"' in beside
    assert "os.path.join(path, BASE)" in beside
    cached = write_handler(
        facts(**here, base_path=tmp_path / "snapshots" / "0123", weights=("adapter_model.bin",))
    )
    assert 'BASE = "ana/llm"' in cached
    assert "BASE, local_files_only=True" in cached
    assert "import os" not in cached
    ast.parse(beside)
    ast.parse(cached)


def test_what_a_folder_says_of_itself_is_no_code() -> None:
    evil = '"""\nimport os; os.abort()\n"""'
    here = {"task": "text-classification", "adapter": {"r": 4}, "weights": ("adapter_model.bin",)}
    text = write_handler(facts(**here, architecture=evil, base_model='a"; import os; os.abort() #\\\n'))
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
    assert "os.abort" not in calls
    assert evil not in text


def test_a_handler_that_is_there_is_kept(tmp_path: Path) -> None:
    path = init_handler(tmp_path)
    assert "NotImplementedError" in path.read_text()
    path.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        init_handler(tmp_path)
    assert path.read_text() == "mine"
    init_handler(tmp_path, force=True)
    assert path.read_text() != "mine"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        init_handler(tmp_path / "nowhere")
