"""Automatic speech recognition: the text of a recording, with times where the model can tell them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.image_to_text import one_of
from lanza.tasks.sampling import GenerationParameters, generation_arguments
from lanza.tasks.upload import Upload

Timestamps = bool | Literal["char", "word"]


class SpeechGenerationParameters(GenerationParameters, frozen=True, kw_only=True):
    """With the spoken `language` ("es" or "spanish") and, for models that do both, the `task`."""

    language: str | None = None
    task: Literal["transcribe", "translate"] | None = None


class SpeechRecognitionParameters(Parameters, frozen=True, kw_only=True):
    """`return_timestamps`: true is what the model does best, else "word" or (CTC models only) "char".

    `generate_kwargs` is the older name of `generation_parameters`.
    """

    generate_kwargs: SpeechGenerationParameters | None = None
    generation_parameters: SpeechGenerationParameters | None = None
    return_timestamps: Timestamps | None = None


class SpeechRecognitionBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: SpeechRecognitionParameters | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """`timestamp` is (start, end) in seconds; an end that the model left open is null."""

    text: str
    timestamp: tuple[float, float | None]


class Transcript(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    text: str
    chunks: list[Chunk] | None = None


def arguments(parameters: SpeechRecognitionParameters | None) -> dict[str, Any]:
    """The generation arguments that a body asks for. BadRequest when one is out of bounds."""
    if parameters is None:
        return {}
    return generation_arguments(one_of(parameters.generation_parameters, parameters.generate_kwargs))


TASK = Task(
    name="automatic-speech-recognition",
    body=SpeechRecognitionBody,
    answer=Transcript,
    example={"inputs": "<base64 of a WAV or FLAC>", "parameters": {"return_timestamps": "word"}},
    media=Media.AUDIO,
)
