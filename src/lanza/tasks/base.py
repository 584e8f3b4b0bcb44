"""What a task is: the body that it reads, the answer that it gives, and how it uses a text model.

Bodies and parameters are msgspec structs, for they are made from bytes: a field that is not listed is refused
by name. `TextModel` is what a text task may know of the model that serves it. Engines and protocols are
elsewhere: a task never runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from lanza.tasks.text import TextEncoder
from lanza.tasks.work import Work


class Media(StrEnum):
    """What a body of raw bytes is taken for."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `parameters` of a body. Every field may be null, which means its default."""


class TextParameters(Parameters, frozen=True, kw_only=True):
    """What every text task accepts: cut a text that is too long instead of refusing it."""

    truncation: bool | None = None
    truncate: bool | None = None

    @property
    def cut(self) -> bool:
        return bool(self.truncation or self.truncate)


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON body. `options` is what clients of the classic inference API add; it is accepted and ignored."""

    options: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """What a text task may know of its model.

    `labels[i]` names class i; `pooling` is how a sentence model makes one vector of many, None when it does
    not; `prompts` are its named prefixes.
    """

    encoder: TextEncoder
    config: Mapping[str, Any]
    labels: tuple[str, ...] = ()
    pooling: str | None = None
    normalize: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of the Hub's list.

    `answer` is the type of the JSON answer (for the schema); `prepare` turns a body into `Work` for a text
    encoder, None for tasks whose engine must do that itself; `outputs` names what is read of the model;
    `check` refuses a model that cannot do the task, when it is loaded.
    """

    name: str
    body: type[Body]
    answer: Any
    example: Any
    media: Media = Media.TEXT
    outputs: tuple[str, ...] = ("logits",)
    prepare: Callable[[TextModel, Any], Work] | None = None
    check: Callable[[TextModel], None] | None = None
