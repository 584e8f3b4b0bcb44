"""The conversion as users get it: a process, a check, a cache, and the ways in which it is refused."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny
from lanza.convert import __main__ as process
from lanza.convert import child, preparation
from lanza.convert.check import compare, require_undisturbed
from lanza.convert.export import EXPORTERS, export, make_graph
from lanza.convert.preparation import Prepared, export_to, prepare
from lanza.convert.report import ConversionReport, makers
from lanza.convert.store import Store
from lanza.convert.worker import verify
from lanza.engines.base import EngineOptions
from lanza.engines.onnx import OnnxEngine
from lanza.errors import ConversionFailed, ModelError, UsageError
from lanza.models.facts import read_facts, with_task
from lanza.tasks import find_task
from serving import environment, export_here

TASK = "text-classification"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("models") / "classes")


@pytest.fixture(scope="module")
def exported(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has the classifier's export."""
    root = tmp_path_factory.mktemp("exported")
    export_here(classifier, Store(root))
    return root


@pytest.fixture
def folder(classifier: Path, tmp_path: Path) -> Path:
    """A copy of the classifier."""
    return Path(shutil.copytree(classifier, tmp_path / "model"))


@pytest.fixture
def home(exported: Path, tmp_path: Path) -> Path:
    """A copy of the store that has its export."""
    return Path(shutil.copytree(exported, tmp_path / "home"))


def ready(folder: Path, home: Path, steps: list[str] | None = None, **asked: str) -> Prepared:
    return prepare(
        read_facts(folder),
        task=asked.get("task"),
        engine=asked.get("engine"),
        store=Store(home),
        tell=(steps if steps is not None else []).append,
    )


def graph_of(folder: Path, task: str = TASK) -> Any:
    import transformers

    from lanza.convert.heads import AUTO_CLASSES

    model = getattr(transformers, AUTO_CLASSES[task]).from_pretrained(folder).eval()
    return make_graph(model, task)


def load(found: Prepared) -> OnnxEngine:
    assert found.task is not None
    return OnnxEngine(
        EngineOptions(
            facts=found.facts, task=find_task(found.task), why=found.why, graph=found.graph, threads=1
        )
    )


def answer(engine: OnnxEngine, body: dict[str, Any]) -> Any:
    """What the engine answers to one body, as Python values."""
    import msgspec

    work = engine.prepare(msgspec.convert(body, find_task(engine.about.task or "").body))
    outputs = engine.forward(work.pieces, alone=True)
    return work.finish([work.keep(i, output) for i, output in enumerate(outputs)])


def no_child(*given: object, **named: object) -> Any:
    raise AssertionError("a conversion was started")


# What is made, kept and found again.


def test_a_conversion_is_made_once_and_belongs_to_its_weights(folder: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    found = ready(folder, tmp_path / "home", steps)
    assert (found.engine, found.facts.path) == ("onnx", folder)
    assert "compared with the original" in found.why
    assert steps
    assert found.graph is not None
    assert sorted(path.name for path in found.graph.parent.iterdir()) == ["lanza.json", "model.onnx"]
    assert list((tmp_path / "home").glob("*.*")) == [tmp_path / "home" / "hashes.json"]

    again: list[str] = []
    assert ready(folder, tmp_path / "home", again).graph == found.graph
    assert again == []

    tiny.bert(folder, labels=("uno", "dos", "tres"))
    store = Store(tmp_path / "home")
    assert store.find(store.source(read_facts(folder)), TASK) is None


def test_files_beside_the_weights_are_the_folders_own(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer that was changed is served as it is now, though the export was made before."""
    monkeypatch.setattr(child, "run", no_child)
    before = answer(load(ready(folder, home)), {"inputs": "La Beca"})
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert answer(load(ready(folder, home)), {"inputs": "La Beca"}) != before


def test_a_tokenizer_that_was_made_is_found_beside_the_graph(folder: Path, tmp_path: Path) -> None:
    """Old folders have a vocab.txt only; what is made of it is served, also from beside the weights."""
    whole = ready(folder, _filled(folder, tmp_path / "whole"))
    expected = answer(load(whole), {"inputs": "La beca de Sevilla"})
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    (folder / "tokenizer.json").unlink()
    home = _filled(folder, tmp_path / "home")
    assert answer(load(ready(folder, home)), {"inputs": "La beca de Sevilla"}) == expected

    export_to(read_facts(folder), folder / "onnx", task=None, store=Store(home), tell=no_child)
    beside = ready(folder, tmp_path / "empty")
    assert beside.graph is None
    assert answer(load(beside), {"inputs": "La beca de Sevilla"}) == expected

    # In the folder itself the tokenizer becomes the folder's own, and the export stays its own.
    shutil.rmtree(folder / "onnx")
    export_to(read_facts(folder), folder, task=None, store=Store(home), tell=no_child)
    inside = ready(folder, tmp_path / "empty")
    assert "compared with its weights" in inside.why
    assert answer(load(inside), {"inputs": "La beca de Sevilla"}) == expected


def _filled(folder: Path, root: Path) -> Path:
    export_here(folder, Store(root))
    return root


def test_a_pooling_of_any_name_is_read(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "model", task="sentence-similarity")
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "juntar", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "juntar").mkdir()
    (folder / "juntar" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    store = Store(tmp_path / "home")
    export_here(folder, store, task="feature-extraction")
    engine = load(ready(folder, store.root, task="feature-extraction"))
    vector = answer(engine, {"inputs": "la beca"})
    (folder / "juntar" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    other = answer(load(ready(folder, store.root, task="feature-extraction")), {"inputs": "la beca"})
    assert vector.shape == other.shape == (tiny.WIDTH,)
    assert (vector >= other - 1e-6).all()
    assert (vector > other).any()


# What is refused, and what that changes.


def test_a_refusal_is_remembered_until_the_libraries_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is served by torch, with the reason; the next start does not try again."""
    store = Store(tmp_path / "home")
    source = store.source(read_facts(folder))
    refusal = {"source": source, "task": TASK, "exporter": "", "accepted": False, "why": "it differs by 0.19"}

    def keep(by: str) -> None:
        aside = store.begin(source, TASK)
        ConversionReport(**refusal, makers=by).write(aside)  # type: ignore[arg-type]
        store.commit(aside, source, TASK)

    keep("torch 1.0, transformers 5.0")
    with monkeypatch.context() as patched:
        patched.setattr(child, "run", no_child)
        with pytest.raises(AssertionError, match="was started"):
            ready(folder, tmp_path / "home")
    keep(makers())
    steps: list[str] = []
    found = ready(folder, tmp_path / "home", steps)
    assert (found.engine, found.why, steps) == ("transformers", "it differs by 0.19", [])
    with pytest.raises(ConversionFailed, match=r"0\.19"):
        ready(folder, tmp_path / "home", engine="onnx")


def test_the_check_catches_an_export_of_other_weights(classifier: Path, tmp_path: Path) -> None:
    import torch

    graph = graph_of(classifier)
    export(graph, tmp_path / "model.onnx", "torchscript")
    checks = compare(graph, tmp_path / "model.onnx", limit=256, told=lambda check: None)
    assert len({check.tokens for check in checks}) >= 4
    assert len({check.batch for check in checks}) >= 3
    assert any(check.alone for check in checks)
    with torch.no_grad():
        graph.model.classifier.bias += 0.01
    with pytest.raises(ConversionFailed, match="differs by"):
        compare(graph, tmp_path / "model.onnx", limit=256, told=lambda check: None)


@pytest.mark.parametrize("arch", ["fnet", "nystromformer", "convbert", "yoso"])
def test_a_model_that_padding_disturbs_is_refused(arch: str, tmp_path: Path) -> None:
    """Each answers a text otherwise when it is padded beside a longer one."""
    folder = tiny.encoder(tmp_path / arch, arch=arch)
    with pytest.raises(ConversionFailed, match="padding changes what the model answers"):
        require_undisturbed(graph_of(folder), limit=256)


def test_an_export_that_sees_padding_is_refused(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph answers as the original does in every batch: only a text by itself tells."""
    graph = graph_of(classifier)
    body, forward = graph.model, graph.model.forward
    monkeypatch.setattr(body, "forward", lambda **given: forward(**_unmasked(given)))
    export(graph, tmp_path / "model.onnx", "torchscript")
    with pytest.raises(ConversionFailed, match="padding changes"):
        require_undisturbed(graph, limit=256)
    with pytest.raises(ConversionFailed, match="padded beside"):
        compare(graph, tmp_path / "model.onnx", limit=256, told=lambda check: None)


def _unmasked(given: dict[str, Any]) -> dict[str, Any]:
    """The mask is still an input, and does nothing."""
    return {**given, "attention_mask": given["attention_mask"] * 0 + 1}


@pytest.mark.parametrize(
    ("arch", "exporter"),
    [
        ("distilbert", "dynamo"),
        ("deberta-v2", "dynamo"),
        ("electra", "torchscript"),
        ("roberta", "torchscript"),
    ],
)
def test_other_encoders_agree_too(arch: str, exporter: str, tmp_path: Path) -> None:
    folder = tiny.encoder(tmp_path / arch, arch=arch)
    graph = graph_of(folder)
    export(graph, tmp_path / "model.onnx", exporter)
    limit = read_facts(folder).max_positions
    checks = compare(graph, tmp_path / "model.onnx", limit=limit, told=lambda check: None)
    assert max(check.difference for check in checks) < 1e-3


# The ONNX model that came with the folder.


def test_an_export_that_came_with_the_folder_is_served_as_it_is(folder: Path, tmp_path: Path) -> None:
    """`lanza convert .` puts it there and runs no file of the model; for other weights it is passed over."""
    for name in ("orjson", "torch", "lanza"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lanza", "convert", "."],
        cwd=folder,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "agrees with the original" in done.stdout
    assert "by themselves and beside" in done.stdout
    assert not (tmp_path / "ran").exists()
    steps: list[str] = []
    found = ready(folder, tmp_path / "other", steps)
    assert (found.engine, found.facts.path, found.graph, steps) == ("onnx", folder, None, [])
    assert "compared with its weights" in found.why
    assert answer(load(found), {"inputs": "la beca"})

    tiny.bert(folder, labels=("uno", "dos", "tres"))
    same = tiny.bert(tmp_path / "same", labels=("uno", "dos", "tres"))
    export_here(same, Store(tmp_path / "other"))
    found = ready(folder, tmp_path / "other", steps)
    assert found.graph is not None
    assert "made from other weights" in found.why
    (labels,) = answer(load(found), {"inputs": "la beca"})
    assert {found.label for found in labels} == {"uno", "dos", "tres"}


def test_an_export_for_another_task_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny.bert(tmp_path / "model", task="fill-mask")
    store = Store(tmp_path / "home")
    export_here(folder, store, task="fill-mask")
    facts = read_facts(folder)
    export_to(facts, folder / "onnx", task="fill-mask", store=store, tell=no_child)
    monkeypatch.setattr(child, "run", no_child)
    assert ready(folder, store.root, task="fill-mask").graph is None
    steps: list[str] = []
    with pytest.raises(AssertionError, match="was started"):
        prepare(
            _with_any_task(read_facts(folder)),
            task="feature-extraction",
            engine=None,
            store=store,
            tell=steps.append,
        )
    assert steps == ["onnx/model.onnx is not used: it was made for fill-mask, not feature-extraction"]


def _with_any_task(facts: Any) -> Any:
    from dataclasses import replace

    return replace(facts, possible_tasks=())


def test_a_foreign_export_is_compared_with_the_weights_beside_it(
    folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one is refused, and that is remembered; then the model is served by one that agrees."""
    export(graph_of(folder), tmp_path / "right.onnx", "torchscript")
    other = tiny.bert(tmp_path / "other", hidden_act="relu")
    (folder / "onnx").mkdir()
    export(graph_of(other), folder / "onnx" / "model.onnx", "torchscript")
    steps: list[str] = []
    found = ready(folder, home, steps)
    assert found.graph is not None
    assert "onnx/model.onnx is not used: its export differs by" in found.why
    assert any("comparing" in step for step in steps)
    monkeypatch.setattr(child, "run", no_child)
    assert ready(folder, home).why == found.why

    facts = read_facts(folder)
    report = verify(facts, TASK, tmp_path / "right.onnx", source="s", tell=lambda step: None)
    assert report.accepted, report.why
    shutil.copy(tmp_path / "right.onnx", folder / "onnx" / "model.onnx")
    monkeypatch.setattr(child, "run", lambda *given, **named: (folder, report))
    found = ready(folder, home)
    assert found.graph is None
    assert "compared with its weights" in found.why


def test_without_torch_a_foreign_export_is_served_and_that_is_said(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_to(read_facts(folder), folder / "onnx", task=None, store=Store(home), tell=no_child)
    (folder / "onnx" / "lanza.json").unlink()
    monkeypatch.setattr(preparation, "installed_modules", frozenset)
    assert "not compared with the weights beside it, as torch is not installed" in ready(folder, home).why


def test_a_graph_has_the_last_word_on_how_many_classes_there_are(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    export_to(read_facts(folder), tmp_path / "alone", task=None, store=Store(home), tell=no_child)
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, tmp_path / "alone")
    config = json.loads((tmp_path / "alone" / "config.json").read_text())
    config["id2label"] = {"0": "a", "1": "b", "2": "c"}
    (tmp_path / "alone" / "config.json").write_text(json.dumps(config))
    (labels,) = answer(load(ready(tmp_path / "alone", tmp_path / "empty")), {"inputs": "la beca"})
    assert {found.label for found in labels} == {"LABEL_0", "LABEL_1"}


def test_a_graph_that_pools_by_itself_is_served_as_it_pools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vector of the text is never cut as if its numbers were tokens."""
    folder = tiny.bert(tmp_path / "model", task="feature-extraction")
    graph = graph_of(folder, "feature-extraction")
    ask = graph.model.forward
    monkeypatch.setattr(graph.model, "forward", lambda **given: _Pooled(ask(**given).last_hidden_state[:, 0]))
    graph.output_names, graph.task = ("sentence_embedding",), find_task(TASK)
    export(graph, folder / "model.onnx", "torchscript")
    (folder / "model.safetensors").unlink()
    found = prepare(
        with_task(read_facts(folder), "feature-extraction"),
        task="feature-extraction",
        engine=None,
        store=Store(tmp_path / "home"),
        tell=no_child,
    )
    engine = load(found)
    work = engine.prepare(find_task("feature-extraction").body(inputs="la beca"))  # type: ignore[call-arg]
    (output,) = engine.forward(work.pieces, alone=True)
    assert output["last_hidden_state"].shape == (tiny.WIDTH,)
    assert len(work.pieces[0]) < tiny.WIDTH


class _Pooled:
    """What a sentence encoder answers."""

    def __init__(self, vectors: Any) -> None:
        self.sentence_embedding = vectors


# Ways in which the process fails.


def test_a_conversion_that_dies_falls_back_with_its_last_words(folder: Path, tmp_path: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    found = ready(folder, tmp_path / "home")
    assert found.engine == "transformers"
    assert found.why
    assert "\n" not in found.why
    assert not list((tmp_path / "home").glob("*.*[!n]"))


def test_a_child_may_say_much_on_standard_error() -> None:
    script = "import sys; sys.stderr.write('x' * 300_000 + '\\n\\x1b[31mlast\\x1b[0m words\\n'); sys.exit(3)"
    assert child._follow([sys.executable, "-c", script], no_child) == "the conversion died (3): last words"
    script = (
        "print('noise'); print('[1]'); print('{\"step\": \"one\"}'); print('{\"error\": \"no\\\\nway\"}')"
    )
    steps: list[str] = []
    assert child._follow([sys.executable, "-c", script], steps.append) == "no"
    assert steps == ["one"]


def test_a_child_ends_when_nobody_waits_for_it(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    command = [sys.executable, "-P", "-m", "lanza.convert", str(folder), str(target), TASK, "hash"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path / "home"),
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert b"step" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(60) == 1
        rest = process.stdout.read()
        assert b'"error"' not in rest
        assert b'"report"' not in rest
    assert not target.exists()


def test_an_interrupted_conversion_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def interrupt(step: str) -> None:
        raise KeyboardInterrupt

    store = Store(tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        prepare(read_facts(folder), task=None, engine=None, store=store, tell=interrupt)
    assert [path.name for path in store.root.iterdir()] == ["hashes.json"]


def test_a_full_disk_is_no_refusal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The conversion fails, and leaves no report by which it would count as tried."""

    def full(graph: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in EXPORTERS:
        monkeypatch.setitem(EXPORTERS, name, full)  # type: ignore[arg-type]
    monkeypatch.setattr(process, "_end_with_parent", lambda target: None)
    assert process.main([str(folder), str(tmp_path), TASK, "hash"]) == 1
    told = capfdbinary.readouterr().out.splitlines()[-1]
    assert b"No space left" in told
    assert ConversionReport.read(tmp_path) is None


def test_a_home_that_cannot_be_written_falls_back(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    found = ready(folder, tmp_path / "home")
    assert found.engine == "transformers"
    assert "LANZA_HOME" in found.why


def test_a_target_that_cannot_be_written_is_told_in_one_line(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match="cannot be written") as told:
        export_to(read_facts(folder), tmp_path / "file" / "onnx", task=None, store=Store(home), tell=no_child)
    assert "\n" not in str(told.value)
    assert isinstance(told.value, UsageError)
    assert not isinstance(told.value, ModelError)


def test_what_changes_while_it_is_converted_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(command: list[str], tell: object) -> str:
        ConversionReport(source="s", task=TASK, exporter="e").write(Path(command[5]))
        (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
        return ""

    monkeypatch.setattr(child, "_follow", follow)
    assert "changed while" in ready(folder, tmp_path / "home").why
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["hashes.json"]
