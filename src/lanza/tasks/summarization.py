"""Summarization: a shorter text that says what a longer one says."""

from __future__ import annotations

import msgspec

from lanza.tasks.base import Body, Task
from lanza.tasks.rewriting import RewritingParameters


class SummarizationBody(Body, frozen=True, kw_only=True):
    inputs: str | list[str]
    parameters: RewritingParameters | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    summary_text: str


TASK = Task(
    name="summarization",
    body=SummarizationBody,
    answer=list[Summary],
    example={
        "inputs": "La convocatoria abre el 3 de marzo y cierra el 28 de abril. Hay que adjuntar las notas.",
        "parameters": {"generate_parameters": {"max_new_tokens": 30}},
    },
)
