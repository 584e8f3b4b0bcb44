"""Audio classification: which of the model's labels a recording belongs to."""

from __future__ import annotations

from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.text_classification import Label, Transform
from lanza.tasks.upload import Upload


class AudioClassificationParameters(Parameters, frozen=True, kw_only=True):
    """The `top_k` best labels come back. `function_to_apply`: null is what the model was trained for."""

    function_to_apply: Transform | None = None
    top_k: int | None = None


class AudioClassificationBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: AudioClassificationParameters | None = None


TASK = Task(
    name="audio-classification",
    body=AudioClassificationBody,
    answer=list[Label],
    example={"inputs": "<base64 of a WAV or FLAC>", "parameters": {"top_k": 3}},
    media=Media.AUDIO,
)
