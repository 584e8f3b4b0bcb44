"""Segments from what a segmentation model puts out: which of its image processor's readings, and the masks.

Masks are computed on at most `WORK` numbers (classes or queries x pixels) and then scaled to the
image: a photograph of 12 megapixels in 150 classes would otherwise take 7 GB for edges that the model, whose
own grid is far coarser, does not see.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lanza.errors import BadRequest
from lanza.tasks.image import encode_mask
from lanza.tasks.image_segmentation import (
    MASK_THRESHOLD,
    OVERLAP_THRESHOLD,
    THRESHOLD,
    ImageSegmentationParameters,
    Segment,
)
from lanza.tasks.object_detection import probability

WORK: Final = 128_000_000
_ORDER: Final = ("panoptic", "instance", "semantic")

Map = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one request wants its segments."""

    subtask: str
    threshold: float
    mask_threshold: float
    overlap: float

    @classmethod
    def of(cls, parameters: ImageSegmentationParameters, processor: Any) -> Reading:
        """BadRequest for a subtask that the model cannot do, or a threshold that is no probability."""
        return cls(
            subtask=_subtask(parameters.subtask, processor),
            threshold=probability(parameters.threshold, THRESHOLD, what="threshold"),
            mask_threshold=probability(parameters.mask_threshold, MASK_THRESHOLD, what="mask_threshold"),
            overlap=probability(
                parameters.overlap_mask_area_threshold,
                OVERLAP_THRESHOLD,
                what="overlap_mask_area_threshold",
            ),
        )


def segments(
    outputs: Any, processor: Any, reading: Reading, *, size: tuple[int, int], labels: tuple[str, ...]
) -> list[Segment]:
    """The segments of one image of `size` (height, width)."""
    read = getattr(processor, f"post_process_{reading.subtask}_segmentation")
    wanted = {
        "target_sizes": [_working_size(outputs, size)],
        "threshold": reading.threshold,
        "mask_threshold": reading.mask_threshold,
        "overlap_mask_area_threshold": reading.overlap,
    }
    known = inspect.signature(read).parameters  # some families have fewer thresholds
    result = read(outputs, **{name: value for name, value in wanted.items() if name in known})[0]
    if reading.subtask == "semantic":
        return _classes(result.numpy(), size, labels)
    return _things(result, size, labels)


def _subtask(asked: str | None, processor: Any) -> str:
    able = [name for name in _ORDER if hasattr(processor, f"post_process_{name}_segmentation")]
    if asked is None:
        return able[0]
    if asked not in able:
        raise BadRequest(f"this model cannot do {asked} segmentation: it does {' or '.join(able)}.")
    return asked


def _working_size(outputs: Any, size: tuple[int, int]) -> tuple[int, int]:
    depth = max(value.shape[1] for value in outputs.values() if value.dim() >= 4)
    height, width = size
    scale = min(1.0, sqrt(WORK / (depth * height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _classes(classes: Map, size: tuple[int, int], labels: tuple[str, ...]) -> list[Segment]:
    return [
        Segment(label=_name(number, labels), score=None, mask=_mask(classes == number, size))
        for number in np.unique(classes).tolist()
        if number >= 0
    ]


def _things(result: Any, size: tuple[int, int], labels: tuple[str, ...]) -> list[Segment]:
    things = result["segmentation"]
    if things is None:
        return []
    return [
        Segment(
            label=_name(info["label_id"], labels),
            score=float(info["score"]),
            mask=_mask(things.numpy() == info["id"], size),
        )
        for info in sorted(result["segments_info"], key=lambda info: -float(info["score"]))
    ]


def _name(number: int, labels: tuple[str, ...]) -> str:
    return labels[number] if 0 <= number < len(labels) else str(number)


def _mask(inside: npt.NDArray[np.bool_], size: tuple[int, int]) -> str:
    if inside.shape != size:
        rows = np.arange(size[0]) * inside.shape[0] // size[0]
        columns = np.arange(size[1]) * inside.shape[1] // size[1]
        inside = inside[rows[:, None], columns]
    return encode_mask(inside)
