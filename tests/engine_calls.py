"""Calling an engine as a replica does: the body that comes in, a batch, the answer that goes out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import tiny_media
from lanza.engines.base import EngineOptions
from lanza.engines.transformers import load
from lanza.models.facts import read_facts, with_task
from lanza.protocols.huggingface import decode, encode
from lanza.tasks import find_task

CLOSE = 1e-3
PICTURES = (
    tiny_media.picture(48, 40),
    tiny_media.picture(90, 33, seed=1),
    tiny_media.picture(32, 64, seed=2),
)


def start(path: Path, task: str) -> Any:
    facts = with_task(read_facts(path), task)
    return load(EngineOptions(facts=facts, task=find_task(task), why="test", threads=1))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def prepared(engine: Any, task: str, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return engine.prepare(decode(find_task(task), raw, "" if isinstance(body, bytes) else "application/json"))


def ask(engine: Any, task: str, body: Any) -> Any:
    """One request as it comes in; its answer as it goes out."""
    work = prepared(engine, task, body)
    return json.loads(encode(work.finish(engine.forward(work.pieces, alone=True))))


def ask_together(engine: Any, task: str, bodies: list[Any]) -> list[Any]:
    """Several requests whose pieces run in one batch."""
    works = [prepared(engine, task, body) for body in bodies]
    assert len({work.group for work in works}) == 1
    outputs = list(engine.forward([piece for work in works for piece in work.pieces], alone=False))
    return [json.loads(encode(work.finish([outputs.pop(0) for _ in work.pieces]))) for work in works]


def assert_same_scores(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [entry["label"] for entry in found] == [entry["label"] for entry in expected]
    assert [entry["score"] for entry in found] == pytest.approx([e["score"] for e in expected], abs=CLOSE)


def body_of(picture: Any, **parameters: Any) -> dict[str, Any]:
    return {"inputs": text(tiny_media.encoded(picture)), "parameters": parameters}
