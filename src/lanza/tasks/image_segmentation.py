"""Image segmentation: the pixels of each thing in an image."""

from __future__ import annotations

from typing import Literal

import msgspec

from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.upload import Upload

Subtask = Literal["instance", "panoptic", "semantic"]

THRESHOLD = 0.9
MASK_THRESHOLD = 0.5
OVERLAP_THRESHOLD = 0.5


class ImageSegmentationParameters(Parameters, frozen=True, kw_only=True):
    """`subtask` null is the first that the model can do of panoptic, instance and semantic.

    `threshold` (0.9) drops unsure segments, `mask_threshold` (0.5) makes masks of probabilities, and
    `overlap_mask_area_threshold` (0.5) drops segments of which little is left beside the others.
    """

    mask_threshold: float | None = None
    overlap_mask_area_threshold: float | None = None
    subtask: Subtask | None = None
    threshold: float | None = None


class ImageSegmentationBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: ImageSegmentationParameters | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """`mask` is a PNG in base64, as large as the image: 255 inside, else 0. Semantic ones have no score."""

    label: str
    score: float | None
    mask: str


TASK = Task(
    name="image-segmentation",
    body=ImageSegmentationBody,
    answer=list[Segment],
    example={"inputs": "<base64 of a JPEG or PNG>", "parameters": {"subtask": "semantic"}},
    media=Media.IMAGE,
)
