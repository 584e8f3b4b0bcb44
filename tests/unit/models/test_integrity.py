from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lanza.models.files import list_files
from lanza.models.findings import Finding, Level
from lanza.models.integrity import examine_files

from .conftest import BERT, WriteFolder, safetensors, weights

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 90868376\n"


def examine(path: Path) -> list[Finding]:
    return list(examine_files(path, list_files(path)))


def codes(path: Path) -> list[tuple[Level, str, str | None]]:
    return [(finding.level, finding.code, finding.path) for finding in examine(path)]


def test_a_sound_folder_has_nothing_to_say(classifier: Path) -> None:
    assert examine(classifier) == []


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("config.json", Level.ERROR),
        ("tokenizer_config.json", Level.ERROR),
        ("vocab.json", Level.ERROR),
        ("trainer_state.json", Level.WARNING),
        ("checkpoint-5/config.json", Level.WARNING),
    ],
)
def test_invalid_json_is_told_with_its_line(folder: WriteFolder, name: str, level: Level) -> None:
    (finding,) = examine(folder({name: '{"a": 1,\n"b": }\n'}))
    assert (finding.level, finding.code, finding.path) == (level, "invalid_json", name)
    assert "line 2" in finding.message


def test_json_of_other_kinds_is_valid(folder: WriteFolder) -> None:
    assert examine(folder({"modules.json": "[]", "nan.json": '{"a": Infinity}'})) == []


def test_damaged_weights(folder: WriteFolder) -> None:
    path = folder({"model.safetensors": weights()[:-3], "old/model.safetensors": b"x"})
    assert codes(path) == [
        (Level.ERROR, "damaged_weights", "model.safetensors"),
        (Level.WARNING, "damaged_weights", "old/model.safetensors"),
    ]


def index(**weight_map: Any) -> dict[str, Any]:
    return {"metadata": {}, "weight_map": weight_map}


ONE = safetensors({"a": ("I8", [3], b"abc")})


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (index(a="one.safetensors", b="two.safetensors", c="three.safetensors"), "missing_shards"),
        (index(a="one.safetensors", b="one.safetensors"), "shard_lacks_tensors"),
        (index(a="one.safetensors", b="../secret.safetensors"), "index_leaves_folder"),
        (index(a="one.safetensors", b="/etc/passwd"), "index_leaves_folder"),
        (index(a="one.safetensors", b=7), "index_leaves_folder"),
        (index(), "bad_index"),
        ({"weight_map": [1]}, "bad_index"),
    ],
)
def test_an_index_that_does_not_match_its_shards(folder: WriteFolder, document: object, code: str) -> None:
    path = folder({"model.safetensors.index.json": document, "one.safetensors": ONE})
    (finding,) = examine(path)
    assert (finding.level, finding.code) == (Level.ERROR, code)


def test_missing_shards_are_counted_and_named(folder: WriteFolder) -> None:
    shards = {f"t{number}": f"pytorch_model-{number}-of-9.bin" for number in range(9)}
    (finding,) = examine(folder({"pytorch_model.bin.index.json": index(**shards)}))
    assert "9 of the 9" in finding.message
    assert "pytorch_model-0-of-9.bin" in finding.message
    assert "and 6 more" in finding.message


def test_an_index_that_matches(folder: WriteFolder) -> None:
    assert (
        examine(folder({"model.safetensors.index.json": index(a="one.safetensors"), "one.safetensors": ONE}))
        == []
    )


def test_lfs_pointers_are_told_once_and_nothing_else_of_them(folder: WriteFolder) -> None:
    path = folder({"model.safetensors": POINTER, "tokenizer.json": POINTER, "config.json": BERT})
    (finding,) = examine(path)
    assert (finding.level, finding.code) == (Level.ERROR, "lfs_pointer")
    assert "git lfs pull" in finding.next_step
    assert "model.safetensors, tokenizer.json" in finding.message


def test_links_stay_inside(folder: WriteFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    path = folder({"config.json": BERT})
    (path / "copy.json").symlink_to("config.json")
    (path / "checkpoint-5").mkdir()
    (path / "latest").symlink_to("checkpoint-5", target_is_directory=True)
    assert examine(path) == []
    (path / "out.json").symlink_to(secret)
    (path / "gone.json").symlink_to("nothing.json")
    (path / "loop.json").symlink_to("loop.json")
    (path / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(path / "pipe.json")
    assert codes(path) == [
        (Level.ERROR, "dangling_link", "gone.json"),
        (Level.ERROR, "dangling_link", "loop.json"),
        (Level.ERROR, "link_leaves_folder", "out.json"),
        (Level.ERROR, "special_file", "pipe.json"),
        (Level.ERROR, "link_leaves_folder", "up"),
    ]


def test_a_snapshot_of_the_cache_links_to_its_blobs(folder: WriteFolder, tmp_path: Path) -> None:
    blobs = folder({"abc": BERT}, name="models--ana--qa/blobs")
    snapshot = folder({}, name="models--ana--qa/snapshots/123")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    assert blobs.is_dir()
    assert examine(snapshot) == []
    (snapshot / "other.json").symlink_to("../../refs")
    assert [finding.code for finding in examine(snapshot)] == ["link_leaves_folder"]


def test_onnx_files(folder: WriteFolder) -> None:
    graph = b"\x0a\x08location\x12\x0fmodel.onnx_data" + bytes(30)
    path = folder({"model.onnx": b"", "onnx/model.onnx": graph})
    assert codes(path) == [
        (Level.ERROR, "damaged_weights", "model.onnx"),
        (Level.ERROR, "missing_shards", "onnx/model.onnx"),
    ]
    (path / "onnx" / "model.onnx_data").write_bytes(b"1")
    (path / "model.onnx").unlink()
    assert examine(path) == []


def test_onnx_under_another_name(folder: WriteFolder) -> None:
    assert codes(folder({"decoder.onnx": b"x"})) == [(Level.NOTE, "unused_onnx", "decoder.onnx")]
