"""The tasks of the Hub that are served here, each in a module of its own, loaded when first asked for."""

from __future__ import annotations

from importlib import import_module

from lanza.errors import UsageError
from lanza.tasks.base import Media, Task, TextModel
from lanza.tasks.work import Work

__all__ = ["TASKS", "TEXT_ENCODER_TASKS", "Media", "Task", "TextModel", "Work", "find_task"]

TEXT_ENCODER_TASKS = (
    "feature-extraction",
    "fill-mask",
    "question-answering",
    "sentence-similarity",
    "text-classification",
    "token-classification",
    "zero-shot-classification",
)
"""One pass of an encoder and some arithmetic: what the onnx engine serves."""

TASKS = (
    *TEXT_ENCODER_TASKS,
    "audio-classification",
    "automatic-speech-recognition",
    "document-question-answering",
    "image-classification",
    "image-segmentation",
    "image-to-text",
    "object-detection",
    "summarization",
    "table-question-answering",
    "text-generation",
    "translation",
    "visual-question-answering",
)


def find_task(name: str) -> Task:
    """The task called `name`; UsageError with the list when there is none."""
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r} here; there are: {', '.join(sorted(TASKS))}.")
    module = import_module(f"lanza.tasks.{name.replace('-', '_')}")
    task: Task = module.TASK
    return task
