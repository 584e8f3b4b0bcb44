"""What `/docs` and `/openapi.json` say, for every task there is."""

from __future__ import annotations

from typing import Any

import pytest

from lanza.protocols import huggingface
from lanza.replica.documentation import openapi, page
from lanza.replica.http import Route
from lanza.tasks import TASKS, find_task


async def nothing(exchange: Any) -> None: ...


ROUTE = Route(nothing, huggingface.encode_error)
ROUTES = {"/": {"GET": ROUTE, "POST": ROUTE}, "/health": {"GET": ROUTE}}
INFO = {"model": "<b>becas</b>", "engine": "onnx", "why": "it is & was"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_schema_whose_references_are_there(name: str) -> None:
    task = find_task(name)
    document = openapi(INFO, task, ROUTES)
    text = huggingface.encode(document).decode()
    for part in text.split('"$ref":"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in document["components"]["schemas"]
    operation = document["paths"]["/"]["post"]
    content = operation["requestBody"]["content"]
    assert content["application/json"]["example"] == task.example
    assert "400" in operation["responses"]
    # the example is one that the task itself can read
    if task.media == "text":
        huggingface.decode(task, huggingface.encode(task.example), "application/json")


def test_the_page_escapes_what_it_shows() -> None:
    html = page(INFO, find_task("question-answering"), ROUTES)
    assert "<b>becas</b>" not in html
    assert "&lt;b&gt;becas&lt;/b&gt;" in html
    assert "it is &amp; was" in html


def test_a_handler_without_a_task_has_a_page_too() -> None:
    assert "<textarea" in page(INFO, None, ROUTES)
