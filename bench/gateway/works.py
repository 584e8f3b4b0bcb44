"""What is served, and what its answers must be: a handler that does next to nothing, and an encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from subject import TASK, Subject, cosine, original, prepare

TOKENS: Final = 14
HANDLER: Final = """
class EndpointHandler:
    def __init__(self, path=""):
        pass

    def __call__(self, data):
        return {"length": len(data["inputs"])}
"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A folder, what a replica's spec says of it, and `inputs` with a check of their answers by number."""

    name: str
    title: str
    folder: Path
    spec: Mapping[str, Any]
    inputs: Sequence[str]
    right: Callable[[int, Any], bool]


def handler(work: Path) -> Work:
    folder = work / "handler"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "handler.py").write_text(HANDLER)
    return Work(
        name="handler",
        title="A handler that does next to nothing",
        folder=folder,
        spec={"engine": "handler"},
        inputs=["hola"],
        right=lambda _, answer: bool(answer == {"length": 4}),
    )


def minilm(work: Path) -> Work:
    [subject] = prepare(work, ["int8"])
    return Work(
        name="minilm",
        title="MiniLM, INT8, 14 tokens",
        folder=subject.folder,
        spec={"engine": "onnx", "graph": str(subject.folder / "model.onnx"), "task": TASK},
        inputs=subject.texts[TOKENS],
        right=lambda number, answer: near(subject, number, answer),
    )


def weights() -> Work:
    """MiniLM's weights as they come, for the server to convert: what is woken from zero."""
    return Work(
        name="weights",
        title="MiniLM, converted by the server",
        folder=original(),
        spec={"task": TASK},
        inputs=["hola"],
        right=lambda _, answer: bool(answer),
    )


def near(subject: Subject, number: int, answer: Any) -> bool:
    vector = np.ravel(np.array(answer, dtype=np.float32))
    expected = subject.vectors[TOKENS][number]
    return vector.shape == expected.shape and cosine(vector, expected) >= subject.least_cosine


WORKS: Final[Mapping[str, Callable[[Path], Work]]] = {"handler": handler, "minilm": minilm}


def body(text: str) -> bytes:
    """What all but BentoML's encoder are sent."""
    return json.dumps({"inputs": text}).encode()


def listed(text: str) -> bytes:
    """BentoML batches lists only."""
    return json.dumps({"inputs": [text]}).encode()
