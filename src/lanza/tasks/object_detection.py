"""Object detection: what is in an image, and where."""

from __future__ import annotations

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.upload import Upload

THRESHOLD = 0.5


class ObjectDetectionParameters(Parameters, frozen=True, kw_only=True):
    """Objects that score at most `threshold` (0.5 unless set) are left out."""

    threshold: float | None = None


class ObjectDetectionBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: ObjectDetectionParameters | None = None


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """Corners in pixels of the image as it was sent, from its top left."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    score: float
    box: Box


def probability(value: float | None, default: float, *, what: str) -> float:
    """A threshold as it was sent, or its default. BadRequest when it is no probability."""
    if value is None:
        return default
    if not 0.0 <= value <= 1.0:
        raise BadRequest(f"`parameters.{what}` is {value:g}: it must be from 0 to 1.")
    return value


TASK = Task(
    name="object-detection",
    body=ObjectDetectionBody,
    answer=list[Detection],
    example={"inputs": "<base64 of a JPEG or PNG>", "parameters": {"threshold": 0.7}},
    media=Media.IMAGE,
)
