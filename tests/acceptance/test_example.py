"""The teaching model as it is shipped: its verified ONNX form, served without torch's engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import InferenceClient

from lanza.convert.report import ConversionReport
from lanza.convert.store import Store
from lanza.models.facts import read_facts
from serving import ROOT, serve_command

BECAS = ROOT / "examples" / "becas-qa"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_command(BECAS, home=tmp_path_factory.mktemp("home")) as command:
        assert not any("exporting" in line for line in command.lines)
        yield command.url


def test_its_export_was_made_from_the_weights_beside_it(tmp_path: Path) -> None:
    report = ConversionReport.read(BECAS / "onnx")
    assert report is not None
    assert report.accepted
    assert report.worst < 1e-3
    assert report.source == Store(tmp_path).source(read_facts(BECAS))
    assert (BECAS / "model.safetensors").stat().st_size <= 8_000_000


def test_another_context_gives_another_answer(url: str) -> None:
    """The demo's own question, with the date that the answer is made of changed."""
    assert httpx.get(f"{url}/info").json()["engine"] == "onnx"
    item = json.loads((BECAS / "questions.json").read_text(encoding="utf-8"))[0]
    client = InferenceClient(model=url)
    first = client.question_answering(question=item["question"], context=item["context"])
    assert first.answer in item["context"]
    changed = item["context"].replace(first.answer, "11 de agosto de 2031")
    second = client.question_answering(question=item["question"], context=changed)
    assert second.answer == "11 de agosto de 2031"
    other = client.question_answering(question="¿Cuándo se publicarán los resultados?", context=changed)
    assert other.answer != second.answer


def test_what_it_is_measured_at_is_what_is_served(url: str) -> None:
    """On the hand-written test the served answers are right at least as often as the card says."""
    stated = json.loads((BECAS / "metrics.json").read_text())["scores"]["hand_written_heldout"]
    right = asked = 0
    with httpx.Client() as client:
        for item in json.loads((BECAS / "data" / "heldout.json").read_text(encoding="utf-8"))["items"]:
            for question in item["questions"]:
                body = {"inputs": {"question": question["question"], "context": item["context"]}}
                answer = client.post(url, json=body).json()["answer"]
                accepted = question.get("answers") or [question["answer"]]
                right += answer.strip(" .").lower() in {text.strip(" .").lower() for text in accepted}
                asked += 1
    assert asked == stated["questions"]
    assert right / asked >= stated["exact_match"] - 0.02
