"""The text of examples/becas-qa: answers lie in their contexts, and the splits share no values."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "becas-qa"
MODULES = ("corpus", "facts", "marks", "phrasings", "values")
DAY = re.compile(r"\b(\d{1,2}) de (\w+)")
SUM = re.compile(r"(?:\$|S/|US\$|Bs|€) ?([\d.,]*\d)|([\d.,]*\d) (?:pesos|euros|soles|dólares|€)")


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The modules of the example, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        for name in MODULES:
            sys.modules.pop(name, None)


def some(example: Any, split: str, seed: int = 5, contexts: int = 300) -> list[Any]:
    writer = example.corpus.Writer(example.phrasings.Phrasings.load(), split, seed)
    return [one for number in range(contexts) for one in writer.examples(2 + number % 12)]


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_lie_in_their_contexts(example: Any, split: str) -> None:
    for one in some(example, split):
        assert one.answer in one.facts
        assert one.answer_text == one.answer_text.strip() != ""
        assert not set("<>{}|") & set(one.context + one.question), one
        assert "  " not in one.context + one.question, one
        for fact in one.facts:
            words = one.context[fact.start : fact.end]
            assert words, one
            assert not words.endswith((".", ",", ";")), words


def test_every_kind_of_fact_is_asked_for(example: Any) -> None:
    kinds = {one.answer.kind for one in some(example, "train", contexts=1000)}
    assert set(example.phrasings.Phrasings.load().kinds) <= kinds


def test_the_same_seed_writes_the_same_text(example: Any) -> None:
    assert some(example, "train", contexts=20) == some(example, "train", contexts=20)
    assert some(example, "train", contexts=20) != some(example, "train", seed=6, contexts=20)


def test_splits_share_no_days_and_no_sums(example: Any) -> None:
    def found(split: str) -> tuple[set[str], set[str]]:
        contexts = {one.context for one in some(example, split, contexts=800)}
        days = {f"{day} de {month}" for text in contexts for day, month in DAY.findall(text)}
        sums = {re.sub(r"\.00$|[.,]", "", "".join(pair)) for text in contexts for pair in SUM.findall(text)}
        return days, sums

    train, heldout = found("train"), found("heldout")
    months = set(example.values.MONTHS)
    assert len(train[0]) > 200
    assert len(heldout[1]) > 50
    assert not {day for day in train[0] & heldout[0] if day.split(" ")[-1] in months}
    assert not train[1] & heldout[1]


def test_splits_share_no_institution_and_no_scholarship(example: Any) -> None:
    phrasings = example.phrasings.Phrasings.load()
    drawn: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        values = example.values.Values(phrasings, split, 1)
        drawn[split] = {values.own(slot) for _ in range(500) for slot in ("inst", "proper")}
        drawn[split] |= {values.word() for _ in range(500)}
    assert not drawn["train"] & drawn["heldout"]


def test_held_out_phrasings_are_not_in_training(example: Any) -> None:
    phrasings = example.phrasings.Phrasings.load()
    for pool in (phrasings.statements, phrasings.sheets):
        assert not {one.text for one in pool["train"]} & {one.text for one in pool["heldout"]}
    assert not set(phrasings.fillers["train"]) & set(phrasings.fillers["heldout"])
    for kind, questions in phrasings.questions["train"].items():
        assert not set(questions) & set(phrasings.questions["heldout"][kind])


def test_hand_written_answers_lie_in_their_contexts() -> None:
    for name, least in (("heldout", 40), ("dev", 20)):
        items = json.loads((EXAMPLE / "data" / f"{name}.json").read_text("utf-8"))["items"]
        assert sum(len(item["questions"]) for item in items) >= least
        for item in items:
            for entry in item["questions"]:
                assert entry["answers"], entry
                assert all(answer in item["context"] for answer in entry["answers"]), entry


def test_marks_become_spans(example: Any) -> None:
    text = example.marks.contract("Acude a <where:el módulo 3> y cierra el <deadline:4 de mayo>.")
    plain, spans = example.marks.unmark(text)
    assert plain == "Acude al módulo 3 y cierra el 4 de mayo."
    assert [(span.kind, plain[span.start : span.end]) for span in spans] == [
        ("where", "módulo 3"),
        ("deadline", "4 de mayo"),
    ]
