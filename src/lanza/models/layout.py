"""Which file of a model folder plays which part: weights, tokenizer, processor, ONNX form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from lanza.models.documents import Json, read_json_or_empty

ONNX_PATHS: Final = (
    "model.onnx",
    "onnx/model.onnx",
    "model_optimized.onnx",
    "onnx/model_optimized.onnx",
    "model_quantized.onnx",
    "onnx/model_quantized.onnx",
)
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "tekken.json",
)
PROCESSOR_FILES: Final = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


def holds_adapter(weights: Sequence[str]) -> bool:
    """Whether these weights only change a base model's."""
    return all(name.startswith("adapter_model") for name in weights)


def find_weights(path: Path, names: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """The files that hold the weights that would be loaded, and their format, the safest first.

    The format is "safetensors", "pickle", "onnx" or None; the files are those that should be there.
    """
    for stem, suffix, label in (
        ("model", ".safetensors", "safetensors"),
        ("adapter_model", ".safetensors", "safetensors"),
        ("pytorch_model", ".bin", "pickle"),
        ("adapter_model", ".bin", "pickle"),
    ):
        if f"{stem}{suffix}" in names:
            return (f"{stem}{suffix}",), label
        if f"{stem}{suffix}.index.json" in names:
            return shards(read_json_or_empty(path / f"{stem}{suffix}.index.json")), label
    onnx = first_present(ONNX_PATHS, names)
    if onnx is None:
        return (), None
    external = (f"{onnx}_data", f"{onnx}.data")
    return (onnx, *(name for name in external if name in names)), "onnx"


def shards(index: Json) -> tuple[str, ...]:
    """The files that a weights index names, present or not; those outside the folder are left out."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        return ()
    named = {name for name in weight_map.values() if isinstance(name, str)}
    return tuple(sorted(name for name in named if is_inside(name)))


def is_inside(name: str) -> bool:
    """Whether a relative name stays in its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def first_present(wanted: Sequence[str], names: frozenset[str]) -> str | None:
    """The first of the ``wanted`` names that is there."""
    return next((name for name in wanted if name in names), None)
