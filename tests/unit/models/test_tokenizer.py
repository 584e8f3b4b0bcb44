from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanza.models.facts import read_facts
from lanza.models.findings import Finding, Level
from lanza.models.tokenizer import (
    Vocabulary,
    embedding_rows,
    examine_embedding,
    examine_tokenizer,
    read_vocabulary,
)

from .conftest import BERT, TOKENIZER, WriteFolder, weights


def tokenizer(*words: str, **changes: Any) -> dict[str, Any]:
    vocab = {word: number for number, word in enumerate(words)}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    return {"version": "1.0", "added_tokens": [], "model": model, **changes}


def added(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": True, **flags}


def examine(path: Path) -> list[Finding]:
    facts = read_facts(path)
    vocabulary = read_vocabulary(path / "tokenizer.json") if facts.tokenizer_file else None
    return list(examine_tokenizer(facts, None, vocabulary))


def test_the_vocabulary_counts_added_tokens(folder: WriteFolder) -> None:
    path = folder({"tokenizer.json": tokenizer("a", "b", "c", added_tokens=[added("<x>", 3)])})
    assert read_vocabulary(path / "tokenizer.json") == Vocabulary(tokens=4, highest_id=3)


@pytest.mark.parametrize("rows", [3, 2, 1])
def test_ids_beyond_the_embedding_are_an_error(folder: WriteFolder, rows: int) -> None:
    path = folder(
        {
            "config.json": BERT | {"vocab_size": rows},
            "tokenizer.json": tokenizer("a", "b", "c", added_tokens=[added("<x>", 3)]),
            "model.safetensors": weights(rows),
        }
    )
    (finding,) = examine(path)
    assert (finding.level, finding.code) == (Level.ERROR, "tokens_beyond_embedding")
    assert "ids up to 3" in finding.message
    assert f"{rows} rows" in finding.message


def test_a_tokenizer_that_fits_exactly(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "model.safetensors": weights(3), "tokenizer.json": tokenizer("a", "b", "c")}
    assert examine(folder(files)) == []


def test_unused_rows_are_a_note(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "model.safetensors": weights(8), "tokenizer.json": tokenizer("a", "b", "c")}
    (finding,) = examine(folder(files))
    assert (finding.level, finding.code) == (Level.NOTE, "unused_rows")
    assert "5 of the embedding's 8 rows" in finding.message


def test_rows_come_from_the_weights_before_the_config(folder: WriteFolder) -> None:
    files = {"config.json": BERT | {"vocab_size": 100}, "model.safetensors": weights(8)}
    facts = read_facts(folder(files))
    assert embedding_rows(facts) == 8
    (finding,) = examine_embedding(facts)
    assert (finding.level, finding.code) == (Level.ERROR, "vocab_size_mismatch")
    assert "100" in finding.message
    assert embedding_rows(read_facts(folder({"model.safetensors": b""}))) == 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        tokenizer("a") | {"model": {"type": "WordLevel", "vocab": {"a": -1}, "unk_token": "a"}},
        tokenizer("a") | {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["q z"]}},
        # makes the library panic
        tokenizer("a") | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    ],
)
def test_a_tokenizer_that_cannot_be_loaded(folder: WriteFolder, content: object) -> None:
    (finding,) = examine(folder({"config.json": BERT, "tokenizer.json": content}))
    assert (finding.level, finding.code) == (Level.ERROR, "bad_tokenizer")


def test_an_empty_vocabulary(folder: WriteFolder) -> None:
    (finding,) = examine(folder({"config.json": BERT, "tokenizer.json": tokenizer()}))
    assert finding.code == "empty_tokenizer"


@pytest.mark.parametrize(
    ("architecture", "files", "missing"),
    [
        ("BertForSequenceClassification", {}, ["no_tokenizer"]),
        ("BertForSequenceClassification", {"vocab.txt": "a"}, []),
        ("ViTForImageClassification", {}, ["no_processor"]),
        ("ViTForImageClassification", {"preprocessor_config.json": {}}, []),
        ("WhisperForConditionalGeneration", {}, ["no_tokenizer", "no_processor"]),
        ("Wav2Vec2ForSequenceClassification", {"preprocessor_config.json": {}}, []),
    ],
)
def test_what_a_task_needs_must_be_there(
    folder: WriteFolder, architecture: str, files: dict[str, Any], missing: list[str]
) -> None:
    family = {"B": "bert", "V": "vit"}.get(architecture[0], "whisper")
    family = "wav2vec2" if architecture.startswith("Wav") else family
    config = {"architectures": [architecture], "model_type": family}
    findings = examine(folder({"config.json": config} | files))
    assert [finding.code for finding in findings] == missing
    assert all(finding.level is Level.ERROR for finding in findings)


def test_a_handler_may_bring_its_own_tokenizer(folder: WriteFolder) -> None:
    (finding,) = examine(folder({"config.json": BERT, "handler.py": ""}))
    assert (finding.level, finding.code) == (Level.NOTE, "no_tokenizer")


def test_a_tokenizer_that_promises_more_than_the_table_has(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "vocab.txt": "a", "tokenizer_config.json": {"model_max_length": 4096}}
    (finding,) = examine(folder(files))
    assert (finding.level, finding.code) == (Level.NOTE, "length_above_positions")
    assert "512" in finding.message


def test_an_adapter_uses_its_bases_tokenizer_and_rows(folder: WriteFolder) -> None:
    base = folder(
        {"config.json": BERT, "model.safetensors": weights(2), "tokenizer.json": TOKENIZER}, name="base"
    )
    adapter = folder(
        {
            "adapter_config.json": {"base_model_name_or_path": "../base", "task_type": "SEQ_CLS"},
            "tokenizer.json": tokenizer("a", "b", "c"),
        },
        name="adapter",
    )
    facts, vocabulary = read_facts(adapter), read_vocabulary(adapter / "tokenizer.json")
    (finding,) = examine_tokenizer(facts, read_facts(base), vocabulary)
    assert finding.code == "tokens_beyond_embedding"
    assert "2 rows" in finding.message
