"""The onnx engine: text encoders through onnxruntime and tokenizers, with no torch in the process.

Two sessions share the cores. `narrow` computes on the thread that calls it, so several batches run side by
side, one a core: that is what a loaded server wants. `wide` uses every core for one batch: that is what a
request that is alone wants. A large model gets only the wide one, for two would double its memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from lanza.engines.base import About, EngineOptions
from lanza.engines.graph import choose_outputs, count_classes, has_tokens, read_inputs
from lanza.errors import ModelError
from lanza.models.facts import ModelFacts, read_facts
from lanza.models.text import build_text_model, reads_token_types, token_id
from lanza.tasks.base import Task, TextModel
from lanza.tasks.text import Output, TokenSequence
from lanza.tasks.work import Work

logger = logging.getLogger("lanza.onnx")

BATCH_TOKENS: Final = 512
"""Larger batches are slower on CPUs: their intermediate results no longer fit the cache."""

OUTPUT_FLOATS: Final = 16 * 2**20
"""The most floats that a batch may give back (64 MiB): masked language models answer with a vocabulary."""

TWO_SESSIONS_BYTES: Final = 512 * 2**20

_LABELLED: Final = frozenset({"text-classification", "token-classification", "zero-shot-classification"})


class OnnxEngine:
    """A `BatchEngine` of `TokenSequence` pieces."""

    def __init__(self, options: EngineOptions) -> None:
        facts = options.facts
        if options.task is None or options.task.prepare is None:
            raise ModelError("the onnx engine serves text encoders only: use --engine transformers.")
        path = options.graph or (facts.path / facts.onnx_path if facts.onnx_path else None)
        if path is None or not path.is_file():
            raise ModelError(f"{facts.path} holds no ONNX model: run `lanza serve` to have it converted.")
        self._task: Task = options.task
        self._prepare = options.task.prepare
        tokenizer = _tokenizer_facts(facts, path)
        self._token_types = reads_token_types(tokenizer)
        self._pad = token_id(tokenizer, "pad_token") or 0
        cores = options.threads or _cores()
        both = cores > 1 and path.stat().st_size <= TWO_SESSIONS_BYTES
        self._wide, self._narrow = _sessions(path, cores, both=both)
        self.streams = cores if both or cores == 1 else 1
        self._inputs = read_inputs(self._wide.get_inputs())
        outputs = self._wide.get_outputs()
        self._outputs = choose_outputs(outputs, self._task)
        classes = count_classes(outputs, self._outputs)
        self._model = _with_classes(_text_model(facts, tokenizer), self._task, classes)
        self.batch_tokens = self._budget()
        if options.task.check is not None:
            options.task.check(self._model)
        self.about = About(
            engine="onnx",
            why=options.why,
            task=self._task.name,
            dtype=_DTYPES.get(self._wide.get_outputs()[0].type, "float32"),
            limit=self._model.encoder.limit,
            details={"file": _name(facts, path), "streams": self.streams, "batch_tokens": self.batch_tokens},
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
        named = dict(zip(self._outputs.values(), arrays, strict=True))
        return [
            {name: _row(self._task, array, i, len(piece)) for name, array in named.items()}
            for i, piece in enumerate(pieces)
        ]

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


def _name(facts: ModelFacts, path: Path) -> str:
    """The graph's file, as people know it: within the model's folder where it lies there."""
    return str(path.relative_to(facts.path)) if path.is_relative_to(facts.path) else path.name


def _cores() -> int:
    """The cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


_DTYPES = {"tensor(float16)": "float16", "tensor(double)": "float64"}

_VALUES: dict[str, Any] = {
    "input_ids": lambda piece: piece.ids,
    "attention_mask": lambda piece: 1,
    "token_type_ids": lambda piece: piece.type_ids,
    "position_ids": lambda piece: np.arange(len(piece)),
}


def _tokenizer_facts(facts: ModelFacts, graph: Path) -> ModelFacts:
    """The facts that have the tokenizer: a tokenizer.json made for a folder without one lies by its graph."""
    if facts.tokenizer_file is not None or not (graph.parent / "tokenizer.json").is_file():
        return facts
    return replace(read_facts(graph.parent), config=facts.config, max_positions=facts.max_positions)


def _text_model(facts: ModelFacts, tokenizer: ModelFacts) -> TextModel:
    made = tokenizer is not facts
    return build_text_model(facts, build_text_model(tokenizer).encoder if made else None)


def _with_classes(model: TextModel, task: Task, count: int | None) -> TextModel:
    """The model with as many labels as its graph has classes: names that do not fit would mislead."""
    if task.name not in _LABELLED or count is None or count == len(model.labels):
        return model
    logger.warning("the ONNX model has %d classes and config.json names %d", count, len(model.labels))
    return replace(model, labels=tuple(f"LABEL_{i}" for i in range(count)))


def _row(task: Task, array: Any, row: int, length: int) -> Any:
    """One piece's output: cut to its own tokens where there is an axis of tokens."""
    return array[row, :length] if has_tokens(task, array.ndim) else array[row]


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
    if threads > 1:
        # Threads that look for work between two calls would take the core that reads the next request.
        options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path.name} cannot be loaded by onnxruntime: {error}") from error
