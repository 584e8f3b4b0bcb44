from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanza.models.choice import CONVERSION_MODULES, OPTIONAL_MODULES
from lanza.models.doctor import Report, examine
from lanza.models.findings import Level
from lanza.models.memory import Machine
from lanza.models.report import as_dict, readable

from .conftest import BERT, WriteFolder, weights

MACHINE = Machine(total=16 * 2**30, available=8 * 2**30)
WORDLEVEL = {
    "version": "1.0",
    "added_tokens": [],
    "model": {"type": "WordLevel", "vocab": {f"w{n}": n for n in range(8)}, "unk_token": "w0"},
}
SOUND: dict[str, Any] = {"config.json": BERT, "tokenizer.json": WORDLEVEL, "model.safetensors": weights()}


def look(path: Path, **given: Any) -> Report:
    return examine(path, installed=OPTIONAL_MODULES, machine=MACHINE, **given)


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_sound_model_is_servable_without_a_word(folder: WriteFolder) -> None:
    report = look(folder(SOUND))
    assert report.findings == ()
    assert report.exit_code == 0
    assert report.choice is not None
    assert report.choice.engine == "onnx"
    assert report.vocabulary is not None
    assert report.vocabulary.tokens == 8


def test_notes_leave_the_verdict_as_it_is(folder: WriteFolder) -> None:
    report = look(folder(SOUND | {"training_args.bin": pickle.dumps([1])}))
    assert codes(report) == ["never_loaded"]
    assert report.exit_code == 0


def test_a_warning_is_servable(folder: WriteFolder) -> None:
    config = BERT | {"auto_map": {"AutoModel": "modeling.Mine"}}
    report = look(folder(SOUND | {"config.json": config}))
    assert (codes(report), report.exit_code, report.is_servable) == (["custom_code"], 1, True)


def test_code_of_a_tokenizer_and_of_a_processor_is_told_too(folder: WriteFolder) -> None:
    files = {
        name: {"auto_map": {"A": "b.C"}} for name in ("tokenizer_config.json", "preprocessor_config.json")
    }
    report = look(folder(SOUND | files))
    assert [finding.path for finding in report.findings] == list(files)
    assert report.exit_code == 1


def test_the_worst_comes_first(folder: WriteFolder) -> None:
    evil = b"cos\nsystem\n(S'echo never'\ntR."
    files = SOUND | {"training_args.bin": evil, "vocab.json": "{", "tokenizer_config.json": "{"}
    report = look(folder(files))
    levels = [finding.level for finding in report.findings]
    assert levels == [Level.ERROR, Level.ERROR, Level.WARNING, Level.NOTE]
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "empty_folder"),
        ({"notes.txt": "hola"}, "not_servable"),
        ({"config.json": BERT}, "not_servable"),
        ({"config.json": BERT, "tf_model.h5": b"x"}, "other_framework"),
        ({"model.Q4_K_M.gguf": b"GGUF"}, "gguf"),
        ({"checkpoint-500/config.json": BERT, "checkpoint-1000/config.json": BERT}, "checkpoints_only"),
        ({"model_index.json": {}}, "other_app"),
        ({"cog.yaml": "", "predict.py": ""}, "other_app"),
        ({"config.json": BERT, "consolidated.safetensors": weights()}, "unnamed_weights"),
        ({"config.json": "{", "model.safetensors": weights()}, "invalid_json"),
        ({"config.json": "[]", "model.safetensors": weights()}, "bad_config"),
        ({"adapter_config.json": "3"}, "bad_config"),
        (SOUND | {"model.safetensors": weights()[:-1]}, "damaged_weights"),
        ({"config.json": BERT, "model.safetensors": weights()}, "no_tokenizer"),
        (SOUND | {"handler.py": "def"}, "handler_syntax"),
        (SOUND | {"config.json": BERT | {"model_type": "no_such_family"}}, "not_servable"),
    ],
)
def test_what_is_not_servable_and_why(folder: WriteFolder, files: dict[str, Any], code: str) -> None:
    report = look(folder(files))
    assert code in codes(report)
    assert report.exit_code == 2
    assert all(finding.message and finding.next_step for finding in report.findings)


def test_the_last_checkpoint_is_named(folder: WriteFolder) -> None:
    names = ("checkpoint-500", "checkpoint-1000", "checkpoint-90")
    (finding,) = look(folder({f"{name}/config.json": BERT for name in names})).findings
    assert "checkpoint-1000" in finding.next_step


def test_a_missing_extra_says_what_to_install(folder: WriteFolder) -> None:
    report = examine(folder(SOUND), installed=frozenset(), machine=MACHINE)
    (finding,) = report.findings
    assert finding.code == "missing_extra"
    assert "pip install 'lanza[convert]'" in finding.next_step.lower()
    assert (report.exit_code, report.choice) == (2, None)


def test_an_adapter_and_its_base(folder: WriteFolder, tmp_path: Path) -> None:
    folder(SOUND, name="base")
    adapter = {"base_model_name_or_path": "../base", "task_type": "SEQ_CLS", "r": 8, "peft_type": "LORA"}
    files = {"adapter_config.json": adapter, "adapter_model.safetensors": weights()}
    report = look(folder(files, name="adapter"))
    assert (codes(report), report.exit_code) == ([], 0)
    described = as_dict(report)["adapter"]
    assert (described["type"], described["rank"], described["base"]) == ("LORA", 8, "../base")

    (tmp_path / "base" / "model.safetensors").write_bytes(b"cut")
    assert codes(look(tmp_path / "adapter")) == ["broken_base"]
    (tmp_path / "base" / "model.safetensors").unlink()
    (tmp_path / "base" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'echo never'\ntR.")
    report = look(tmp_path / "adapter")
    assert codes(report) == ["broken_base"]
    assert "would run os.system" in report.findings[0].message
    (tmp_path / "base" / "pytorch_model.bin").unlink()
    assert codes(look(tmp_path / "adapter")) == ["base_without_weights"]
    (tmp_path / "base" / "config.json").unlink()
    report = look(tmp_path / "adapter", cache=tmp_path)
    assert "not_servable" in codes(report)
    assert any("not on this machine" in finding.message for finding in report.findings)


def test_memory_that_is_short_and_memory_that_is_not_there(folder: WriteFolder) -> None:
    path = folder(SOUND)
    short = examine(path, installed=CONVERSION_MODULES, machine=Machine(total=2**40, available=2**20))
    assert (codes(short), short.exit_code) == (["memory_is_short"], 1)
    none = examine(path, installed=CONVERSION_MODULES, machine=Machine(total=2**21, available=2**20))
    assert (codes(none), none.exit_code) == (["too_large"], 2)


def test_a_card_that_disagrees_is_told(folder: WriteFolder) -> None:
    report = look(folder(SOUND | {"README.md": "---\npipeline_tag: fill-mask\n---\n"}))
    assert (codes(report), report.exit_code) == (["card_disagrees"], 0)


def test_a_pointer_is_told_once(folder: WriteFolder) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    files = {"config.json": BERT, "tokenizer.json": pointer, "pytorch_model.bin": pointer}
    assert codes(look(folder(files))) == ["lfs_pointer"]


def test_a_shallow_look_opens_no_pickle_and_no_tokenizer(folder: WriteFolder) -> None:
    files = SOUND | {"tokenizer.json": "{}", "bad.pkl": b"cos\nsystem\n(S'echo never'\ntR."}
    assert codes(look(folder(files), deep=False)) == []
    assert set(codes(look(folder(files)))) == {"bad_tokenizer", "unsafe_pickle"}


def test_every_report_has_the_same_keys(folder: WriteFolder, tmp_path: Path) -> None:
    reports = [
        look(folder(SOUND)),
        look(tmp_path / "absent"),
        look(folder({"config.json": "{"}, name="broken")),
    ]
    keys = [list(as_dict(report)) for report in reports]
    assert keys[0] == keys[1] == keys[2]
    assert {"servable", "exit_code", "kind", "task", "engine", "memory", "findings", "files"} <= set(keys[0])


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are POSIX's")
def test_names_that_are_no_text_are_shown_safely(folder: WriteFolder) -> None:
    path = folder(SOUND)
    (path / os.fsdecode(b"\xff\x1b[31m.pkl")).write_bytes(pickle.dumps([1]))
    text = json.dumps(as_dict(look(path)), ensure_ascii=False)
    text.encode("utf-8")
    assert "\x1b" not in text
    assert readable("a\x1b[31m\nb") == "a�[31m�b"


def test_a_path_that_cannot_be_a_path(tmp_path: Path) -> None:
    assert look(tmp_path / "a\0b").exit_code == 2
    assert look(tmp_path / ("x" * 5000)).exit_code == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
CONFIG_KEYS = (
    *("model_type", "architectures", "vocab_size", "auto_map", "text_config", "max_position_embeddings"),
    *("pad_token_id", "task_specific_params", "base_model_name_or_path", "target_modules", "r", "peft_type"),
    *("task_type", "revision", "weight_map", "model_max_length", "tokenizer_class", "_name_or_path"),
)
DOCUMENTS = st.dictionaries(st.sampled_from(CONFIG_KEYS), JSON, max_size=6)
NAMES = (
    *("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json", "README.md", "handler.py"),
    *("model.safetensors", "adapter_model.safetensors", "pytorch_model.bin", "model.onnx", "x.npy"),
)
CONTENTS = st.binary(max_size=40) | (DOCUMENTS | JSON).map(lambda value: json.dumps(value).encode())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(st.sampled_from(NAMES), CONTENTS, max_size=6))
def test_whatever_is_broken_there_is_a_report(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("broken")
    for name, content in files.items():
        (root / name).write_bytes(content)
    report = look(root)
    assert json.loads(json.dumps(as_dict(report)))["exit_code"] in {0, 1, 2}
    assert all(finding.message and finding.next_step for finding in report.findings)
