"""The onnx engine: text encoders through onnxruntime and tokenizers, with no torch in the process.

Two sessions share the cores. `narrow` computes on the thread that calls it, so several batches run side by
side, one a core: that is what a loaded server wants. `wide` uses every core for one batch: that is what a
request that is alone wants. A large model gets only the wide one, for two would double its memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from lanza.engines.base import About, EngineOptions
from lanza.errors import ModelError
from lanza.models.text import build_text_model, reads_token_types, token_id
from lanza.tasks.base import Task
from lanza.tasks.text import Output, TokenSequence
from lanza.tasks.work import Work

BATCH_TOKENS: Final = 512
"""Larger batches are slower on CPUs: their intermediate results no longer fit the cache."""

OUTPUT_FLOATS: Final = 16 * 2**20
"""The most floats that a batch may give back (64 MiB): masked language models answer with a vocabulary."""

TWO_SESSIONS_BYTES: Final = 512 * 2**20


class OnnxEngine:
    """A `BatchEngine` of `TokenSequence` pieces."""

    def __init__(self, options: EngineOptions) -> None:
        facts = options.facts
        if options.task is None or options.task.prepare is None:
            raise ModelError("the onnx engine serves text encoders only: use --engine transformers.")
        if facts.onnx_path is None:
            raise ModelError(f"{facts.path} holds no ONNX model: run `lanza serve` to have it converted.")
        self._task: Task = options.task
        self._prepare = options.task.prepare
        self._model = build_text_model(facts)
        self._token_types = reads_token_types(facts)
        self._pad = token_id(facts, "pad_token") or 0
        cores = options.threads or _cores()
        path = facts.path / facts.onnx_path
        both = cores > 1 and path.stat().st_size <= TWO_SESSIONS_BYTES
        self._wide, self._narrow = _sessions(path, cores, both=both)
        self.streams = cores if both or cores == 1 else 1
        self._inputs = _inputs(self._wide)
        self._outputs = _choose_outputs([entry.name for entry in self._wide.get_outputs()], options.task.name)
        self.batch_tokens = self._budget()
        if options.task.check is not None:
            options.task.check(self._model)
        self.about = About(
            engine="onnx",
            why=options.why,
            task=self._task.name,
            dtype=_DTYPES.get(self._wide.get_outputs()[0].type, "float32"),
            limit=self._model.encoder.limit,
            details={"file": facts.onnx_path, "streams": self.streams, "batch_tokens": self.batch_tokens},
        )

    def _budget(self) -> int:
        """Tokens in a batch: fewer for a model that answers with its whole vocabulary for each of them."""
        if self._task.name != "fill-mask":
            return BATCH_TOKENS
        vocabulary = int(self._model.config.get("vocab_size", 1))
        return min(BATCH_TOKENS, OUTPUT_FLOATS // max(1, vocabulary))

    def prepare(self, body: Any) -> Work:
        return self._prepare(self._model, body)

    def forward(self, pieces: Sequence[TokenSequence], *, alone: bool) -> Sequence[Output]:
        session = self._wide if alone or self._narrow is None else self._narrow
        arrays = session.run(list(self._outputs), self._feeds(pieces))
        named = [(name, array) for name, array in zip(self._outputs.values(), arrays, strict=True)]
        return [_row(named, i, len(piece)) for i, piece in enumerate(pieces)]

    def _feeds(self, pieces: Sequence[TokenSequence]) -> dict[str, Any]:
        """Padded arrays [pieces, longest]; only those inputs that the graph has."""
        shape = (len(pieces), max(map(len, pieces)))
        feeds: dict[str, Any] = {}
        for name, dtype in self._inputs.items():
            array = np.full(shape, self._pad if name == "input_ids" else 0, dtype=dtype)
            feeds[name] = array
            if name == "token_type_ids" and not self._token_types:
                continue
            for row, piece in zip(array, pieces, strict=True):
                row[: len(piece)] = _VALUES[name](piece)
        return feeds

    def close(self) -> None:
        del self._wide, self._narrow


def _cores() -> int:
    """The cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _inputs(session: Any) -> dict[str, Any]:
    """The graph's inputs with their types. ModelError when it wants what a text does not have."""
    wanted = {entry.name: entry.type for entry in session.get_inputs()}
    foreign = [name for name, kind in wanted.items() if name not in _VALUES or kind not in _NUMPY]
    if foreign:
        raise ModelError(
            f"this ONNX model wants {', '.join(foreign)}, and texts give {', '.join(_VALUES)}: "
            "export it for a text task, or serve it with a handler.py."
        )
    return {name: np.dtype(_NUMPY[kind]) for name, kind in wanted.items()}


_DTYPES = {"tensor(float16)": "float16", "tensor(double)": "float64"}

_NUMPY = {
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(float)": "float32",
    "tensor(bool)": "bool",
}

_VALUES: dict[str, Any] = {
    "input_ids": lambda piece: piece.ids,
    "attention_mask": lambda piece: 1,
    "token_type_ids": lambda piece: piece.type_ids,
    "position_ids": lambda piece: np.arange(len(piece)),
}


EXPECTED = {
    "question-answering": ("start_logits", "end_logits"),
    "feature-extraction": ("last_hidden_state",),
    "sentence-similarity": ("last_hidden_state",),
}
"""What the tasks read, by the names that exporters use; `logits` for all others."""


def _choose_outputs(names: Sequence[str], task: str) -> dict[str, str]:
    """The graph's outputs to compute, each with the name that the task knows it by."""
    expected = EXPECTED.get(task, ("logits",))
    if all(name in names for name in expected):
        return {name: name for name in expected}
    if len(names) >= len(expected) and not set(names) & {"logits", "start_logits", "last_hidden_state"}:
        return dict(zip(names, expected, strict=False))
    raise ModelError(
        f"this ONNX model answers {', '.join(names)} and {task} needs {', '.join(expected)}: "
        "choose another --task, or export it for this one."
    )


def _row(named: Sequence[tuple[str, Any]], row: int, length: int) -> Output:
    """One piece's outputs; those with an axis of tokens are cut to the piece's own."""
    return {
        name: array[row] if name == "logits" and array.ndim == 2 else array[row, :length]
        for name, array in named
    }


def _sessions(path: Path, cores: int, *, both: bool) -> tuple[Any, Any]:
    if not both:
        return _session(path, cores), None
    with ThreadPoolExecutor(2) as pool:
        wide, narrow = pool.map(lambda threads: _session(path, threads), (cores, 1))
    return wide, narrow


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path.name} cannot be loaded by onnxruntime: {error}") from error
