"""Model folders written by hand: configs, cards and safetensors files of a few bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

BERT = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 8,
    "max_position_embeddings": 512,
}
TOKENIZER = {"model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "hola": 1, "adiós": 2}}, "added_tokens": []}

WriteFolder = Callable[..., Path]


def safetensors(tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """A sound safetensors file of these tensors: name to dtype, shape and data."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def weights(rows: int = 8) -> bytes:
    return safetensors(
        {
            "bert.embeddings.word_embeddings.weight": ("F32", [rows, 2], bytes(rows * 2 * 4)),
            "classifier.weight": ("F16", [2, 2], bytes(8)),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> WriteFolder:
    """Writes a folder of the named files: bytes as they are, text as UTF-8, the rest as JSON."""

    def write(files: Mapping[str, object], name: str = "model") -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return root

    return write


@pytest.fixture
def classifier(folder: WriteFolder) -> Path:
    """A sound text classifier."""
    return folder({"config.json": BERT, "tokenizer.json": TOKENIZER, "model.safetensors": weights()})
