"""What the engines for images, recordings and pages share: pieces of tensors that run in one batch.

The model held here: a request is preprocessed into named tensors with a leading dimension of 1. Pieces whose
tensors have equal shapes are concatenated, so no padding can change an answer. One batch runs at a time, with
all cores: a picture keeps them busy by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lanza.engines.base import About, EngineOptions
from lanza.engines.transformers import loading
from lanza.engines.transformers.refusals import loading as told_as_model_error
from lanza.errors import BadRequest
from lanza.tasks.work import Work

BATCH_TOKENS = 4096
"""Patches or frames in a batch: some twenty small pictures, or one large one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Preprocessed tensors, and what makes the answer of the model's output for this row."""

    tensors: Mapping[str, Any]
    read: Callable[[Any], Any]
    arguments: Mapping[str, Any]


class MediaEngine:
    """A loaded model and the running of batches. A subclass prepares pieces and says how the model is run."""

    streams = 1
    batch_tokens = BATCH_TOKENS

    def __init__(self, options: EngineOptions, model: Any, *, limit: int | None = None) -> None:
        self.model = model
        self._about = loading.about(options, model, limit=limit)

    @property
    def about(self) -> About:
        return self._about

    def close(self) -> None:
        self.model = None

    def forward(self, pieces: Sequence[Piece], *, alone: bool) -> Sequence[Any]:
        """Mostly one batch; the last window of a recording is shorter than the others and runs apart."""
        together: dict[Hashable, list[int]] = {}
        for index, piece in enumerate(pieces):
            together.setdefault(_likeness(piece.tensors, piece.arguments), []).append(index)
        answers: list[Any] = [None] * len(pieces)
        with torch.inference_mode():
            for indices in together.values():
                made = self.run([pieces[index] for index in indices])
                for index, answer in zip(indices, made, strict=True):
                    answers[index] = answer
        return answers

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        """One answer per piece. Here: one pass, and each piece reads its row."""
        outputs = self.model(**self.gather(pieces))
        return [piece.read(row) for piece, row in zip(pieces, _rows(outputs, len(pieces)), strict=True)]

    def gather(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """The pieces' tensors as a batch, where the model is and in its precision."""
        names = pieces[0].tensors.keys()
        return {name: self._place([piece.tensors[name] for piece in pieces]) for name in names}

    def _place(self, tensors: Sequence[Any]) -> Any:
        batch = torch.cat(list(tensors)).to(self.model.device)
        return batch.to(self.model.dtype) if batch.is_floating_point() else batch


def make_work(
    tensors: Mapping[str, Any],
    read: Callable[[Any], Any],
    *,
    cost: int,
    arguments: Mapping[str, Any] | None = None,
    apart: Hashable = None,
) -> Work:
    """One piece. It shares a batch with pieces of equal shapes, `arguments` and `apart`."""
    given = arguments or {}
    return Work(
        pieces=[Piece(tensors=tensors, read=read, arguments=given)],
        lengths=[max(1, cost)],
        finish=lambda outputs: outputs[0],
        group=(_likeness(tensors, given), apart),
    )


def patches(tensors: Mapping[str, Any]) -> int:
    """The cost of an image: how many squares of 16 x 16 pixels, or how many patches where it has been cut."""
    pixels = tensors.get("pixel_values")
    if pixels is None or pixels.dim() < 4:
        return max(tensor.shape[1] if tensor.dim() > 1 else 1 for tensor in tensors.values())
    return int(pixels[0].numel() // (3 * 16 * 16))


@contextmanager
def preprocessing(what: str) -> Iterator[None]:
    """Tell what a processor refuses of an input as a BadRequest: it has no error of its own for that."""
    try:
        yield
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise BadRequest(f"this model cannot read {what}: {reason}. Send another one.") from error


def load_image_processor(options: EngineOptions) -> Any:
    """How the folder wants its images, through Pillow and numpy: torchvision is never needed."""
    from transformers import AutoImageProcessor

    return _load(options, AutoImageProcessor, "image processor", backend="pil")


def load_feature_extractor(options: EngineOptions) -> Any:
    """How the folder wants its recordings."""
    from transformers import AutoFeatureExtractor

    with warnings.catch_warnings():
        # The Audio Spectrogram Transformer's own settings leave a filter empty, and transformers says so.
        warnings.filterwarnings("ignore", message="At least one mel filter", category=UserWarning)
        return _load(options, AutoFeatureExtractor, "feature extractor")


def labels_of(config: Any) -> tuple[str, ...]:
    """The names of the classes, by number."""
    names = config.id2label
    return tuple(str(names.get(index, index)) for index in range(len(names)))


def _load(options: EngineOptions, auto_class: Any, kind: str, **more: Any) -> Any:
    facts = options.facts
    # An adapter's folder seldom has a processor of its own.
    folder = facts.path if facts.has_processor or facts.base_path is None else facts.base_path
    with told_as_model_error(f"The {kind} in {folder.name}"):
        return auto_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **more)


def _likeness(tensors: Mapping[str, Any], arguments: Mapping[str, Any]) -> Hashable:
    """What two pieces must share to be one batch."""
    shapes = tuple(sorted((name, tuple(tensor.shape)) for name, tensor in tensors.items()))
    return shapes, tuple(sorted(arguments.items()))


def _rows(outputs: Any, count: int) -> list[Any]:
    """A model's output, cut into one output of the same kind for each row, in float32 on the CPU."""
    tensors = {
        name: (value.float() if value.is_floating_point() else value).cpu()
        for name, value in outputs.items()
        if isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == count
    }
    return [
        type(outputs)(**{name: value[i : i + 1] for name, value in tensors.items()}) for i in range(count)
    ]
