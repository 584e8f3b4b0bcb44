"""tasks.md: what each task takes and answers, from the types that decode bodies and encode answers."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

from generators.shapes import Shapes, fields, without_null
from lanza.tasks import TASKS, find_task
from lanza.tasks.base import Media, Parameters, Task

INTRODUCTION = """\
# Tasks

Bodies go to `POST /` or `POST /predict` as JSON. A field that is not listed is refused by name; `options`,
which clients of the classic inference API add, is accepted and ignored. A parameter that is
null or left out has its default. A replica shows its own task, with a form to try it, at `/docs`, and as JSON
schema at `/openapi.json`.
"""


def lines() -> Iterator[str]:
    tasks = [find_task(name) for name in sorted(TASKS) if importlib.util.find_spec(_module(name))]
    yield INTRODUCTION
    yield ",\n".join(f"[{task.name}](#{task.name})" for task in tasks) + "."
    for task in tasks:
        yield from _task(task)


def _module(name: str) -> str:
    return f"lanza.tasks.{name.replace('-', '_')}"


def _task(task: Task) -> Iterator[str]:
    shapes = Shapes()
    yield from ("", f"## {task.name}", "", _purpose(task))
    if task.media is not Media.TEXT:
        yield f"\nThe body may also be the {task.media} file itself, with any Content-Type or none."
    yield from ("", "| field | type |", "|---|---|")
    parameters = None
    for name, kind in fields(task.body):
        if _is_parameters(kind):
            parameters = without_null(kind)
        else:
            yield f"| `{name}` | {shapes.code(kind)} |"
    if parameters is not None:
        yield from _parameters(parameters, shapes)
    yield from ("", f"Answer: {shapes.code(task.answer)}")
    yield from shapes.where()
    yield from ("", "```json", json.dumps(task.example, ensure_ascii=False), "```")


def _purpose(task: Task) -> str:
    """The sentence that the task's module begins with, its name left out."""
    summary = inspect.cleandoc(sys.modules[_module(task.name)].__doc__ or "").partition("\n\n")[0]
    purpose = summary.partition(": ")[2] or summary
    return purpose[:1].upper() + purpose[1:]


def _parameters(parameters: type[Parameters], shapes: Shapes) -> Iterator[str]:
    for name, kind in fields(parameters):
        yield f"| `parameters.{name}` | {shapes.code(kind)} |"
    if parameters.__doc__:
        yield from ("", inspect.cleandoc(parameters.__doc__).replace("\n\n", " "))


def _is_parameters(kind: Any) -> bool:
    plain = without_null(kind)
    return isinstance(plain, type) and issubclass(plain, Parameters)
