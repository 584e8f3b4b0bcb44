"""Text encoders through torch: the tasks that are one pass of a model and some arithmetic.

The model held here: the tasks cut texts into sequences and read the outputs, as they do for every engine;
this one pads a batch of sequences, runs it and cuts the padding off. Padding stands on the right, where no
position and no causal model is disturbed by it. Some models are disturbed all the same (their convolutions,
hashes or Fourier transforms see it): each is tried when it is loaded, and those run their sequences one by
one.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from lanza.engines.base import About, EngineOptions
from lanza.engines.transformers.loading import about, load_model, load_tokenizer, run_facts
from lanza.engines.transformers.python_tokenizer import PythonTokenizer
from lanza.engines.transformers.refusals import loading
from lanza.errors import ModelError
from lanza.models.facts import ModelFacts
from lanza.models.text import build_text_model, text_limit
from lanza.tasks.text import UNBOUNDED, Output, TextEncoder, TokenSequence
from lanza.tasks.work import Work

AUTO_CLASSES: Final = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "question-answering": "AutoModelForQuestionAnswering",
    "sentence-similarity": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "zero-shot-classification": "AutoModelForSequenceClassification",
}

BATCH_TOKENS: Final = {"cpu": 1024, "cuda": 16_384}
"""A CPU is no faster with larger batches, which only make others wait; a GPU wants to be filled."""

_PROBE: Final = "La beca abre en marzo y cierra en abril. "
_PROBE_TOKENS: Final = (5, 40)
_CLOSE: Final = {4: 1e-3, 2: 3e-2}
"""How much padding may change an output, relative to its largest value, by the bytes of a number."""

OUTPUT_FLOATS: Final = 16 * 2**20
"""The most floats that a batch may give back (64 MiB): masked language models answer with a vocabulary."""


class EncoderEngine:
    """A `BatchEngine` of `TokenSequence` pieces."""

    streams = 1  # torch spreads one batch over all cores, and is slower when two share them

    def __init__(self, options: EngineOptions) -> None:
        task = options.task
        if task is None or task.prepare is None or task.name not in AUTO_CLASSES:
            raise ModelError(f"there is no text encoder for {task.name if task else 'no task'}: give --task.")
        self._prepare = task.prepare
        self._names = task.outputs
        # Poolers are made beside the hidden states, which are all that these tasks look at.
        self._torch = load_model(
            options, AUTO_CLASSES[task.name], unused=("pooler",) if "last_hidden_state" in self._names else ()
        )
        if "last_hidden_state" in self._names and self._torch.config.is_encoder_decoder:
            self._torch = self._torch.get_encoder()
        facts = replace(run_facts(options.facts, self._torch), task=task.name)
        tokenizer = load_tokenizer(options)
        self._model = build_text_model(facts, text_encoder(tokenizer, facts))
        if task.check is not None:
            task.check(self._model)
        self._device = next(self._torch.parameters()).device
        self._pad = _padding(self._torch, tokenizer)
        self._takes = _inputs(self._torch, tokenizer)
        self._separator = facts.config.get("sep_token_id") if "global_attention_mask" in self._takes else None
        with loading(f"The model in {options.facts.path.name}"):
            self._pads = self._pad is not None and self._is_undisturbed()
        self.batch_tokens = _budget(self._device.type, self._torch.config, self._names, task.name)
        self._about = about(
            options,
            self._torch,
            limit=self._model.encoder.limit,
            batch_tokens=self.batch_tokens,
            pads=self._pads,
        )

    @property
    def about(self) -> About:
        return self._about

    def prepare(self, body: Any) -> Work:
        return self._prepare(self._model, body)

    def forward(self, pieces: Sequence[TokenSequence], *, alone: bool) -> Sequence[Output]:
        if not self._pads:
            return [output for piece in pieces for output in self._run([piece])]
        return self._run(pieces)

    def _is_undisturbed(self) -> bool:
        """Whether a sequence has the same outputs beside a longer one as by itself."""
        encoder = self._model.encoder
        ids = encoder.ids(_PROBE * 8)
        room = encoder.limit - encoder.single.size
        short, long = (encoder.single.compose(ids[: min(size, room)]) for size in _PROBE_TOKENS)
        together, alone = self._run([short, long])[0], self._run([short])[0]
        close = _CLOSE[min(self._torch.dtype.itemsize, 4)]
        return all(
            np.abs(together[name] - alone[name]).max() <= close * max(1.0, np.abs(alone[name]).max())
            for name in self._names
        )

    def _run(self, pieces: Sequence[TokenSequence]) -> list[Output]:
        with torch.inference_mode():
            result = self._torch(**self._feeds(pieces), return_dict=True)
        arrays = {name: result[name].float().cpu().numpy() for name in self._names}
        # Classes of a whole text are the one output that has no axis of tokens.
        whole = self._names == ("logits",) and arrays["logits"].ndim == 2
        return [
            {name: array[i] if whole else array[i, : len(piece)] for name, array in arrays.items()}
            for i, piece in enumerate(pieces)
        ]

    def close(self) -> None:
        del self._torch

    def _feeds(self, pieces: Sequence[TokenSequence]) -> dict[str, Any]:
        """Tensors [pieces, longest] of what this model takes."""
        shape = (len(pieces), max(map(len, pieces)))
        feeds = {name: np.zeros(shape, dtype=np.int64) for name in self._takes}
        feeds["input_ids"] = np.full(shape, self._pad or 0, dtype=np.int64)
        for i, piece in enumerate(pieces):
            length = len(piece)
            feeds["input_ids"][i, :length] = piece.ids
            if "attention_mask" in feeds:
                feeds["attention_mask"][i, :length] = 1
            if "token_type_ids" in feeds:
                feeds["token_type_ids"][i, :length] = piece.type_ids
            if self._separator in piece.ids:
                feeds["global_attention_mask"][i, : piece.ids.index(self._separator)] = 1
        return {name: torch.from_numpy(array).to(self._device) for name, array in feeds.items()}


def text_encoder(tokenizer: Any, facts: ModelFacts) -> TextEncoder:
    """The tokenizer's Rust side without truncation or padding; a stand-in where it has none."""
    limit = text_limit(facts) or UNBOUNDED
    if not tokenizer.is_fast:
        return TextEncoder(tokenizer=PythonTokenizer(tokenizer), limit=limit, mask_token=tokenizer.mask_token)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return TextEncoder(tokenizer=backend, limit=limit, mask_token=tokenizer.mask_token)


def _padding(model: Any, tokenizer: Any) -> int | None:
    """The id that batches are padded with; None when this model can tell no padding, and takes no batch.

    A decoder that classifies looks for its last token by the config's id, so only that one will do for it.
    """
    known = getattr(model.config.get_text_config(), "pad_token_id", None)
    if known is not None:
        return int(known)
    if type(model).__name__.endswith("ForSequenceClassification") and not _attends_both_ways(model):
        return None
    return int(tokenizer.pad_token_id or 0)


def _attends_both_ways(model: Any) -> bool:
    """Whether the head reads the first token (encoders), and not the last one before the padding."""
    return "use_cache" not in inspect.signature(model.forward).parameters


def _inputs(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """What is fed beside the ids: a mask where one is taken, and what both model and tokenizer know of."""
    takes = inspect.signature(model.forward).parameters
    names = [name for name in ("attention_mask",) if name in takes]
    types = getattr(model.config, "type_vocab_size", 2) or 0
    if "token_type_ids" in takes and "token_type_ids" in tokenizer.model_input_names and types > 1:
        names.append("token_type_ids")
    if "global_attention_mask" in takes and type(model).__name__.endswith("ForQuestionAnswering"):
        # Left alone, the model finds the question by counting separators, and fails when a text holds one.
        names.append("global_attention_mask")
    return tuple(names)


def _budget(device: str, config: Any, names: Sequence[str], task: str) -> int:
    width = getattr(config, "vocab_size", 0) if task == "fill-mask" else getattr(config, "hidden_size", 0)
    return min(BATCH_TOKENS[device], OUTPUT_FLOATS // max(width or 1, len(names)))
