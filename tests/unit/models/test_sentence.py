"""What a sentence-transformers folder says of its vectors, and what it may not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lanza.errors import ModelError
from lanza.models.facts import read_facts
from lanza.models.sentence import Pooling, read_pooling
from lanza.models.text import read_labels, token_id, token_text


def modules(*kinds: str) -> list[dict[str, Any]]:
    folders = {"Transformer": "", "Pooling": "1_Pooling"}
    return [
        {"idx": i, "path": folders.get(kind, f"{i}_{kind}"), "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]


def write(root: Path, *kinds: str, pooling: dict[str, Any]) -> Path:
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (root / "modules.json").write_text(json.dumps(modules("Transformer", *kinds)))
    return root


@pytest.mark.parametrize(
    ("pooling", "how"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["lasttoken"]}, "lasttoken"),
        ({}, "mean"),
    ],
)
def test_old_and_new_words_for_pooling(tmp_path: Path, pooling: dict[str, Any], how: str) -> None:
    assert read_pooling(write(tmp_path, "Pooling", pooling=pooling)) == Pooling(how=how)


def test_normalising_and_prompts(tmp_path: Path) -> None:
    path = write(tmp_path, "Pooling", "Normalize", pooling={})
    prompts = {"prompts": {"query": "consulta: ", "document": "", "bad": 3}}
    (path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert read_pooling(path) == Pooling(how="mean", normalize=True, prompts={"query": "consulta: "})


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode_mean_sqrt_len_tokens": True},
        {"pooling_mode": "mean", "include_prompt": False},
    ],
)
def test_pooling_that_is_not_served_is_refused(tmp_path: Path, pooling: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="1_Pooling"):
        read_pooling(write(tmp_path, "Pooling", pooling=pooling))


def test_a_step_that_is_not_served_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Dense"):
        read_pooling(write(tmp_path, "Pooling", "Dense", pooling={}))


@pytest.mark.parametrize("text", ["{}", "[1]", "not json", '[{"type": "x.Pooling", "path": "../../etc"}]'])
def test_damaged_modules_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(ModelError, match=r"modules\.json"):
        read_pooling(tmp_path)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"id2label": {"0": "no", "1": "sí"}}, ("no", "sí")),
        (
            {"id2label": {"1": "b", "0": "a", "10": "k"}},
            ("a", "b", *(f"LABEL_{i}" for i in range(2, 10)), "k"),
        ),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"num_labels": 3, "id2label": {"0": "a", "1": "b"}}, ("a", "b", "LABEL_2")),
        ({}, ("LABEL_0", "LABEL_1")),
        ({"id2label": ["a"], "num_labels": None}, ("LABEL_0", "LABEL_1")),
    ],
)
def test_labels_are_in_order_of_their_ids(config: dict[str, Any], labels: tuple[str, ...]) -> None:
    assert read_labels(config) == labels


def test_an_absurd_count_of_labels_is_refused() -> None:
    with pytest.raises(ModelError, match="classes"):
        read_labels({"id2label": {"999999999": "x"}})


@pytest.mark.parametrize(
    ("files", "text", "number"),
    [
        ({"tokenizer_config.json": {"pad_token": "<pad>"}}, "<pad>", 3),
        ({"tokenizer_config.json": {"pad_token": {"content": "<pad>"}}}, "<pad>", 3),
        ({"special_tokens_map.json": {"pad_token": "<pad>"}}, "<pad>", 3),
        ({"special_tokens_map.json": {"pad_token": "<absent>"}}, "<absent>", None),
        ({}, None, None),
    ],
)
def test_special_tokens(
    folder: Callable[..., Path], files: dict[str, Any], text: str | None, number: int | None
) -> None:
    tokenizer = {"added_tokens": [{"id": 3, "content": "<pad>"}], "model": {}}
    facts = read_facts(folder({"config.json": {"model_type": "bert"}, "tokenizer.json": tokenizer, **files}))
    assert (token_text(facts, "pad_token"), token_id(facts, "pad_token")) == (text, number)
