"""Translation: the same text in another language. Models of many languages are told which by their codes."""

from __future__ import annotations

import msgspec

from lanza.tasks.base import Body, Task
from lanza.tasks.rewriting import RewritingParameters


class TranslationParameters(RewritingParameters, frozen=True, kw_only=True):
    """`src_lang` and `tgt_lang` are codes that the model's tokenizer knows, given together or not at all."""

    src_lang: str | None = None
    tgt_lang: str | None = None


class TranslationBody(Body, frozen=True, kw_only=True):
    inputs: str | list[str]
    parameters: TranslationParameters | None = None


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    translation_text: str


TASK = Task(
    name="translation",
    body=TranslationBody,
    answer=list[Translation],
    example={"inputs": "La convocatoria abre el 3 de marzo."},
)
