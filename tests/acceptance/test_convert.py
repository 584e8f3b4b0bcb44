"""The conversion as users get it: a process, a check, a cache, and the ways in which it is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tiny
from lanza.convert.check import compare
from lanza.convert.export import export, make_graph
from lanza.convert.preparation import prepare
from lanza.convert.report import ConversionReport
from lanza.convert.store import Store
from lanza.errors import ConversionFailed
from lanza.models.facts import read_facts
from serving import environment


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("models") / "classes")


def ready(folder: Path, home: Path, steps: list[str] | None = None, **asked: str) -> tuple[str, str, Path]:
    told = steps if steps is not None else []
    found = prepare(
        read_facts(folder),
        task=asked.get("task"),
        engine=asked.get("engine"),
        store=Store(home),
        tell=told.append,
    )
    return found.engine, found.why, found.facts.path


def test_a_conversion_is_made_once_and_again_when_the_weights_change(
    classifier: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(classifier, folder)
    steps: list[str] = []
    engine, why, converted = ready(folder, tmp_path / "home", steps)
    assert engine == "onnx"
    assert "compared with the original" in why
    assert steps
    assert (converted / "model.onnx").is_file()
    assert not (converted / "model.safetensors").exists()

    again: list[str] = []
    assert ready(folder, tmp_path / "home", again)[2] == converted
    assert again == []

    tiny.bert(folder, labels=("uno", "dos", "tres"))
    assert ready(folder, tmp_path / "home", again)[2] != converted
    assert again


def test_an_export_that_differs_is_refused_and_the_refusal_remembered(
    classifier: Path, tmp_path: Path
) -> None:
    """The model is served by torch, with the reason; the next start does not try again."""
    folder = tmp_path / "model"
    shutil.copytree(classifier, folder)
    store = Store(tmp_path / "home")
    source = store.source(read_facts(folder))
    aside = store.begin(source, "text-classification")
    ConversionReport(
        source=source, task="text-classification", exporter="", accepted=False, why="it differs by 0.19"
    ).write(aside)
    store.commit(aside, source, "text-classification")
    steps: list[str] = []
    engine, why, _ = ready(folder, tmp_path / "home", steps)
    assert (engine, why, steps) == ("transformers", "it differs by 0.19", [])
    with pytest.raises(ConversionFailed, match=r"0\.19"):
        ready(folder, tmp_path / "home", engine="onnx")


def test_the_check_catches_an_export_of_other_weights(classifier: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    graph = make_graph(model, "text-classification")
    export(graph, tmp_path / "model.onnx", "torchscript")
    checks = compare(graph, tmp_path / "model.onnx", limit=256, told=lambda check: None)
    assert len({check.tokens for check in checks}) >= 4
    assert len({check.batch for check in checks}) >= 3
    with torch.no_grad():
        model.classifier.bias += 0.01
    with pytest.raises(ConversionFailed, match="differs by"):
        compare(graph, tmp_path / "model.onnx", limit=256, told=lambda check: None)


def test_an_export_that_came_with_the_folder_is_served_as_it_is(classifier: Path, tmp_path: Path) -> None:
    """`lanza convert` puts it there; when the weights change, it no longer counts."""
    folder = tmp_path / "model"
    shutil.copytree(classifier, folder)
    done = subprocess.run(
        [sys.executable, "-m", "lanza", "convert", str(folder)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "agrees with the original" in done.stdout
    steps: list[str] = []
    engine, why, served_from = ready(folder, tmp_path / "other", steps)
    assert (engine, served_from, steps) == ("onnx", folder, [])
    assert "compared with its weights" in why

    tiny.bert(folder, labels=("uno", "dos", "tres"))
    assert ready(folder, tmp_path / "other", steps)[2] != folder
    assert steps


@pytest.mark.parametrize("arch", ["distilbert", "electra", "roberta", "deberta-v2"])
def test_other_encoders_agree_too(arch: str, tmp_path: Path) -> None:
    import transformers

    folder = tiny.encoder(tmp_path / arch, arch=arch)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    graph = make_graph(model, "text-classification")
    export(graph, tmp_path / "model.onnx", "dynamo")
    checks = compare(
        graph, tmp_path / "model.onnx", limit=read_facts(folder).max_positions, told=lambda check: None
    )
    assert max(check.difference for check in checks) < 1e-3


def test_a_conversion_that_dies_falls_back_with_its_last_words(classifier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(classifier, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    engine, why, _ = ready(folder, tmp_path / "home")
    assert engine == "transformers"
    assert why
