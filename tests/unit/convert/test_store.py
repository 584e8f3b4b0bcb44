"""The store of conversions: what counts as one, what is replaced, what is swept, and what it is keyed by."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from lanza.convert.report import ConversionReport
from lanza.convert.store import LEFTOVER_SECONDS, Store, place
from lanza.errors import ConversionFailed
from lanza.models.facts import read_facts

TASK = "text-classification"


def report(**more: object) -> ConversionReport:
    from lanza.convert.report import makers

    told = ConversionReport(source="s", task=TASK, exporter="torchscript", makers=makers())
    return msgspec.structs.replace(told, **more)


def keep(store: Store, told: ConversionReport | None, graph: bytes | None = b"graph") -> Path:
    aside = store.begin("s", TASK)
    if told is not None:
        told.write(aside)
    if graph is not None:
        (aside / "model.onnx").write_bytes(graph)
    return store.commit(aside, "s", TASK)


def test_the_first_of_two_that_convert_at_once_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "made")
    first, second = store.begin("s", TASK), store.begin("s", TASK)
    assert first != second
    for aside, graph in ((first, b"one"), (second, b"two")):
        report().write(aside)
        (aside / "model.onnx").write_bytes(graph)
        folder = store.commit(aside, "s", TASK)
    assert (folder / "model.onnx").read_bytes() == b"one"
    assert list(store.root.iterdir()) == [folder]


@pytest.mark.parametrize("damage", ["no report", "half a report", "no graph", "another's refusal"])
def test_what_does_not_count_is_replaced(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    folder = keep(store, None if damage == "no report" else report())
    if damage == "half a report":
        (folder / "lanza.json").write_text('{"source"')
    if damage == "no graph":
        (folder / "model.onnx").unlink()
    if damage == "another's refusal":
        report(accepted=False, exporter="", makers="torch 1.0").write(folder)
    assert store.find("s", TASK) is None
    assert keep(store, report(), b"new") == folder
    assert store.find("s", TASK) == (folder, report())
    assert (folder / "model.onnx").read_bytes() == b"new"


def test_a_refusal_counts_while_the_libraries_are_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path)
    refusal = report(accepted=False, exporter="", why="no")
    folder = keep(store, refusal, None)
    assert store.find("s", TASK) == (folder, refusal)


def test_leftovers_are_swept_when_old(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, young = store.begin("s", TASK), store.begin("s", TASK)
    (old / "model.onnx").write_bytes(b"half")
    before = time.time() - LEFTOVER_SECONDS - 60
    os.utime(old, (before, before))
    kept = keep(store, report())
    os.utime(kept, (before, before))
    store.begin("t", TASK)
    assert not old.exists()
    assert young.exists()
    assert kept.exists()


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConversionFailed, match="LANZA_HOME"):
        Store(tmp_path / "file" / "made").begin("s", TASK)
    store = Store(tmp_path / "made")
    aside = store.begin("s", TASK)
    store.folder("s", TASK).write_text("in the way")
    with pytest.raises(ConversionFailed, match="cannot be kept"):
        store.commit(aside, "s", TASK)


def folder_with(path: Path, *names: str) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for name in ("model.safetensors", *names):
        (path / name).write_bytes(name.encode())
    return path


def test_the_key_covers_all_that_a_tokenizer_is_made_from(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model", "vocab.json", "merges.txt", "tokenizer_config.json")
    store = Store(tmp_path / "made")
    seen = {store.source(read_facts(folder))}
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "config.json", "model.safetensors"):
        text = (folder / name).read_text()
        (folder / name).write_text(text + " ")
        seen.add(store.source(read_facts(folder)))
    assert len(seen) == 6
    (folder / "tokenizer.json").write_text("{}")
    own = store.source(read_facts(folder))
    assert own not in seen
    (folder / "tokenizer.json").write_text('{"a": 1}')
    assert store.source(read_facts(folder)) == own, "it is served from the model's own folder"


def test_weights_that_are_not_there_are_told(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "model")
    facts = read_facts(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConversionFailed, match=r"model\.safetensors cannot be read"):
        Store(tmp_path / "made").source(facts)


def test_files_are_placed_whole_or_not_at_all(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (source / name).write_text("new")
    target.mkdir()
    (target / "tokenizer.json").write_text("own")
    place(source, target, keep=frozenset({"tokenizer.json"}))
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "model.onnx": "new",
        "tokenizer.json": "own",
    }
    (target / "model.onnx").unlink()
    (target / "model.onnx").mkdir()
    with pytest.raises(OSError, match="directory"):
        place(source, target, keep=frozenset({"tokenizer.json"}))
    assert sorted(path.name for path in target.iterdir()) == ["model.onnx", "tokenizer.json"]
