"""Image to text: a caption, an alternative text, the words in a picture; what the model learned to say."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Media, Parameters, Task
from lanza.tasks.sampling import GenerationParameters, generation_arguments
from lanza.tasks.upload import Upload

T = TypeVar("T")


class ImageToTextParameters(Parameters, frozen=True, kw_only=True):
    """`generate_kwargs` is the older name of `generation_parameters`."""

    generate_kwargs: GenerationParameters | None = None
    generation_parameters: GenerationParameters | None = None
    max_new_tokens: int | None = None


class ImageToTextBody(Body, frozen=True, kw_only=True):
    inputs: Upload
    parameters: ImageToTextParameters | None = None


class GeneratedText(msgspec.Struct, frozen=True, kw_only=True):
    generated_text: str


def arguments(parameters: ImageToTextParameters | None) -> dict[str, Any]:
    """The generation arguments that a body asks for. BadRequest when one is out of bounds."""
    if parameters is None:
        return {}
    given = one_of(parameters.generation_parameters, parameters.generate_kwargs)
    if parameters.max_new_tokens is not None:
        given = msgspec.structs.replace(
            given or GenerationParameters(), max_new_tokens=parameters.max_new_tokens
        )
    return generation_arguments(given)


def one_of(new: T | None, old: T | None) -> T | None:
    """The one of two names of the same parameter that was sent."""
    if new is not None and old is not None:
        raise BadRequest("`generation_parameters` and `generate_kwargs` are the same: send one of them.")
    return new if new is not None else old


TASK = Task(
    name="image-to-text",
    body=ImageToTextBody,
    answer=list[GeneratedText],
    example={"inputs": "<base64 of a JPEG or PNG>", "parameters": {"max_new_tokens": 30}},
    media=Media.IMAGE,
)
