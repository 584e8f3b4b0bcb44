"""The request of the tutorial on a Longformer that answers questions about scholarships."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import tiny
from serving import served

Run = Callable[..., dict[str, Any]]
API_URL = "https://api-inference.huggingface.co/models/nombreUsuario/nombreRepo"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[str]:
    folder = tiny.longformer_qa(tmp_path_factory.mktemp("models") / "becas", positions=4096)
    with served(folder, home=home) as url:
        yield url


def test_the_request_as_it_is_written(run_tutorial: Run, url: str) -> None:
    names = run_tutorial("004_request.py", {API_URL: url}, API_TOKEN="hf_not_looked_at")
    data = names["data"]
    context = "My name is Clara and I live in Berkeley."
    assert set(data) == {"answer", "score", "start", "end"}
    assert data["answer"] == context[data["start"] : data["end"]] != ""
    assert 0 < data["score"] <= 1


def test_a_context_of_two_thousand_tokens(url: str) -> None:
    """As long as the one that the tutorial sends from Postman, in one window."""
    context = "\n".join(tiny.text(120, seed=i) for i in range(13))
    answer = requests.post(
        url,
        headers={"Authorization": "Bearer hf_not_looked_at", "Content-Type": "application/json"},
        json={"inputs": {"question": "¿Qué monto ofrece la beca?", "context": context}},
        timeout=100,
    )
    assert answer.status_code == 200, answer.text
    data = answer.json()
    assert data["answer"] == context[data["start"] : data["end"]] != ""
