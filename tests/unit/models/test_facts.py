from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lanza.errors import ModelError
from lanza.models.facts import FolderKind, read_facts, with_task

from .conftest import BERT, TOKENIZER, WriteFolder, safetensors, weights


def test_a_classifier_is_read_whole(classifier: Path) -> None:
    facts = read_facts(classifier)
    assert facts.kind is FolderKind.TRANSFORMERS
    assert (facts.task, facts.task_source) == ("text-classification", "BertForSequenceClassification")
    assert facts.parameters == 8 * 2 + 4
    assert facts.dtypes == {"F32": 16, "F16": 4}
    assert facts.weights == ("model.safetensors",)
    assert facts.weights_format == "safetensors"
    assert facts.weights_bytes == (classifier / "model.safetensors").stat().st_size
    assert facts.tokenizer_file == "tokenizer.json"
    assert facts.max_positions == 512
    assert not facts.has_processor


def test_shards_are_counted_together(folder: WriteFolder) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "../x.safetensors"}}
    path = folder(
        {
            "config.json": BERT,
            "model.safetensors.index.json": index,
            "model-1.safetensors": safetensors({"a": ("I8", [3], b"abc")}),
            "model-2.safetensors": safetensors({"b": ("F32", [1], b"abcd")}),
        }
    )
    facts = read_facts(path)
    assert facts.parameters == 4
    assert facts.weights == ("model-1.safetensors", "model-2.safetensors")


def test_damaged_weights_have_no_count_and_raise_nothing(folder: WriteFolder) -> None:
    facts = read_facts(folder({"config.json": BERT, "model.safetensors": weights()[:-1]}))
    assert facts.parameters is None
    assert facts.dtypes == {}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"handler.py": "", "config.json": BERT}, FolderKind.HANDLER),
        ({"adapter_config.json": {}, "adapter_model.safetensors": b""}, FolderKind.ADAPTER),
        (
            {"adapter_config.json": {}, "config.json": BERT, "model.safetensors": b""},
            FolderKind.TRANSFORMERS,
        ),
        ({"config.json": BERT, "model.onnx": b""}, FolderKind.ONNX),
        ({"config.json": BERT, "onnx/model.onnx": b""}, FolderKind.ONNX),
        ({"config.json": BERT, "model.onnx": b"", "model.safetensors": b""}, FolderKind.TRANSFORMERS),
        ({"config.json": {"architecture": "resnet18"}}, FolderKind.UNKNOWN),
        ({"notes.txt": "hello"}, FolderKind.UNKNOWN),
        ({}, FolderKind.UNKNOWN),
    ],
)
def test_kinds(folder: WriteFolder, files: dict[str, Any], kind: FolderKind) -> None:
    assert read_facts(folder(files)).kind is kind


@pytest.mark.parametrize(
    ("card", "task"),
    [
        ("---\npipeline_tag: zero-shot-classification\n---\n", "zero-shot-classification"),
        ("---\r\npipeline_tag: 'zero-shot-classification' # NLI\r\n---\r\n", "zero-shot-classification"),
        ("\ufeff---\ntags:\n- x\npipeline_tag: zero-shot-classification\n---\n", "zero-shot-classification"),
        ("---\npipeline_tag: fill-mask\n---\n", "text-classification"),  # the base model's card, copied
        ("---\npipeline_tag: text-ranking\n---\n", "text-classification"),
        ("---\npipeline_tag: zero-shot-classification\n", "text-classification"),  # it never ends
        ("---\nmodel:\n  pipeline_tag: zero-shot-classification\n---\n", "text-classification"),
        ("pipeline_tag: zero-shot-classification\n", "text-classification"),
        ("---\npipeline_tag:\n---\n", "text-classification"),
        ("", "text-classification"),
    ],
)
def test_the_card_chooses_among_what_the_head_can_do(folder: WriteFolder, card: str, task: str) -> None:
    assert read_facts(folder({"config.json": BERT, "README.md": card})).task == task


def test_the_card_decides_where_the_architecture_is_silent(folder: WriteFolder) -> None:
    files = {"config.json": {"model_type": "bert"}, "README.md": "---\npipeline_tag: fill-mask\n---\n"}
    assert read_facts(folder(files)).task == "fill-mask"


def test_sentence_transformers(folder: WriteFolder) -> None:
    config = BERT | {"architectures": ["BertModel"]}
    assert read_facts(folder({"config.json": config})).task == "feature-extraction"
    facts = read_facts(folder({"config.json": config, "modules.json": "[]"}))
    assert facts.task == "sentence-similarity"
    assert facts.sentence_modules


def test_the_tokenizers_endless_length_is_none(folder: WriteFolder) -> None:
    path = folder(
        {"config.json": BERT, "tokenizer_config.json": '{"model_max_length": ' + f"{int(1e30)}" + "}"}
    )
    assert read_facts(path).tokenizer_max_length is None
    path = folder({"tokenizer_config.json": {"model_max_length": 128, "tokenizer_class": "BertTokenizer"}})
    facts = read_facts(path)
    assert (facts.tokenizer_max_length, facts.tokenizer_class) == (128, "BertTokenizer")


def test_an_adapter_finds_its_base_beside_it_and_in_the_cache(folder: WriteFolder, tmp_path: Path) -> None:
    base = folder({"config.json": BERT, "model.safetensors": weights()}, name="base")
    adapter = {"base_model_name_or_path": "../base", "task_type": "SEQ_CLS"}
    facts = read_facts(folder({"adapter_config.json": adapter}, name="adapter"))
    assert facts.base_path == base
    assert (facts.task, facts.model_type, facts.max_positions) == ("text-classification", "bert", 512)

    snapshot = folder({"config.json": BERT}, name="cache/models--ana--base/snapshots/abc")
    folder({"main": "abc\n"}, name="cache/models--ana--base/refs")
    named = folder({"adapter_config.json": adapter | {"base_model_name_or_path": "ana/base"}}, name="named")
    assert read_facts(named, cache=tmp_path / "cache").base_path == snapshot
    assert read_facts(named, cache=tmp_path / "empty").base_path is None


@pytest.mark.parametrize(
    "name", [".", "", "../adapter", "../../etc", "\u0000", 7, "a" * 5000, "~no_such_user", "ana/\u0000"]
)
def test_an_adapter_is_never_its_own_base(folder: WriteFolder, tmp_path: Path, name: object) -> None:
    files = {"adapter_config.json": {"base_model_name_or_path": name}, "config.json": BERT}
    assert read_facts(folder(files, name="adapter"), cache=tmp_path).base_path is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n"a": 1,\n}', "line 3"),
        ("[1, 2]", "an object is expected"),
        ("null", "an object is expected"),
        ("", "not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        ("[" * 200_000, "nested too deep"),
        ('{"a": ' + "9" * 5_000 + "}", "number"),
    ],
)
def test_a_broken_config_says_where(folder: WriteFolder, text: str | bytes, says: str) -> None:
    with pytest.raises(ModelError, match=r"config\.json") as raised:
        read_facts(folder({"config.json": text}))
    assert says in raised.value.message


def test_what_is_no_folder_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing at"):
        read_facts(tmp_path / "absent")
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match="is a file"):
        read_facts(file)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": 7, "architectures": "Bert", "vocab_size": "many"},
        {"model_type": ["bert"], "architectures": [{}], "max_position_embeddings": -1, "auto_map": 3},
        {"model_type": "roberta", "max_position_embeddings": 1, "pad_token_id": 40},
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "task_specific_params": [1]},
        {"model_type": "gemma3", "text_config": {"text_config": {"text_config": 3}}},
    ],
)
def test_odd_values_are_no_error(folder: WriteFolder, config: dict[str, Any]) -> None:
    facts = read_facts(folder({"config.json": config}))
    assert facts.max_positions is None or facts.max_positions > 0


def test_another_task_of_the_same_head(classifier: Path) -> None:
    facts = read_facts(classifier)
    assert with_task(facts, "zero-shot-classification").task == "zero-shot-classification"
    with pytest.raises(ModelError, match="cannot do fill-mask"):
        with_task(facts, "fill-mask")
    with pytest.raises(ModelError, match="no task that Lanza serves"):
        with_task(facts, "juggling")


def test_reading_a_card_and_a_tokenizer_is_not_fooled_by_folders(folder: WriteFolder) -> None:
    path = folder({"config.json": BERT, "README.md/x": "", "tokenizer_config.json": json.dumps(TOKENIZER)})
    assert read_facts(path).task == "text-classification"


def test_pipes_and_devices_are_not_opened(folder: WriteFolder) -> None:
    path = folder({})
    for name in ("config.json", "README.md", "tokenizer_config.json", "model.safetensors"):
        (path / name).symlink_to("/dev/zero")
    os.mkfifo(path / "adapter_config.json")
    assert read_facts(path).kind is FolderKind.UNKNOWN
