"""The parts of the benchmark that decide: lengths of texts, what counts as a failure, ratios, the search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing


def tokenizer() -> Tokenizer:
    words = [*"abcdefgh", "[CLS]", "[SEP]", "[UNK]"]
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 8), ("[SEP]", 9)]
    )
    return made


@pytest.mark.parametrize("tokens", [14, 128])
def test_texts_have_the_length_that_was_asked_for(bench: Any, tokens: int) -> None:
    made = bench("texts").make_texts(tokenizer(), tokens=tokens, count=64)
    assert len(set(made)) == 64
    assert {len(tokenizer().encode(text).ids) for text in made} == {tokens}
    assert made == bench("texts").make_texts(tokenizer(), tokens=tokens, count=64)


def test_texts_that_cannot_differ_are_an_error(bench: Any) -> None:
    with pytest.raises(ValueError, match="no 64 texts of 3"):
        bench("texts").make_texts(tokenizer(), tokens=3, count=64)


def summary(**changes: float) -> str:
    values = {"requests": 800, "seconds": 8.0, "p50_ms": 2.5, "p99_ms": 9.0, "refused": 0, "broken": 0}
    return "Running 8s test\nRequests/sec: 1\n\n" + json.dumps({**values, **changes}) + "\n"


def test_a_summary_becomes_figures(bench: Any) -> None:
    figures = bench("load").read_summary(summary())
    assert (figures.per_second, figures.p50_ms, figures.p99_ms) == (100.0, 2.5, 9.0)


@pytest.mark.parametrize(
    "changes", [{"refused": 1}, {"broken": 1}, {"requests": 0}, {"requests": 0, "broken": 3}]
)
def test_a_load_with_one_failure_measures_nothing(bench: Any, changes: dict[str, float]) -> None:
    load = bench("load")
    with pytest.raises(load.LoadFailed):
        load.read_summary(summary(**changes))


def figures(per_second: float, p50_ms: float) -> dict[str, float]:
    return {"per_second": per_second, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms, "cpu_ms": 1.0}


def results(**changes: Any) -> dict[str, Any]:
    rounds = [
        {"bare": figures(100, 1.0), "lanza": figures(90, 1.5), "litserve": figures(30, 9.0)},
        {"bare": figures(200, 1.0), "lanza": figures(160, 1.8), "litserve": figures(40, 9.0)},
        {"bare": figures(300, 1.0), "lanza": figures(300, 1.6), "litserve": figures(100, 9.0)},
    ]
    record = {
        "precision": "fp32",
        "tokens": 14,
        "clients": 32,
        "loop": "one stream",
        "settings": {"litserve": {"a": 1}},
        "nearness": 1.0,
        "rounds": rounds,
    }
    machine = {
        "cpu": "A CPU",
        "cpu_model": "model 1",
        "instructions": ["avx2"],
        "cores": 2,
        "virtual": True,
        "memory_gib": 4.0,
        "governor": "unknown",
        "system": "Linux",
        "python": "3.11",
        "wrk": "wrk 4",
        "packages": {},
    }
    return {
        "started": "2026-01-01T00:00:00+00:00",
        "machine": machine,
        "busy": False,
        "load_average": 0.1,
        "rounds": 3,
        "seconds": 8.0,
        "stolen_seconds": 0.0,
        "serving": [record],
        **changes,
    }


def test_ratios_are_taken_within_a_round(bench: Any) -> None:
    of_loop, of_peers = bench("report").verdicts(results())
    assert (of_loop.spread.least, of_loop.spread.middle, of_loop.spread.most) == (0.8, 0.9, 1.0)
    assert of_peers.spread.middle == 3.0
    assert of_loop.goal.met(of_loop.spread)


def test_one_client_is_held_against_the_loop_by_milliseconds(bench: Any) -> None:
    given = results()
    given["serving"][0]["clients"] = 1
    over, _ = bench("report").verdicts(given)
    assert over.spread.middle == pytest.approx(0.6)
    assert over.row[-1] == "yes"


def test_a_missed_goal_is_said(bench: Any) -> None:
    given = results(cold_start={"lanza": [2.0, 2.0], "script": [0.5, 1.0], "tutorial": [8.0, 8.0]})
    page = "\n".join(bench("report").page(given))
    assert "1 of 4 goals were missed" in page
    assert "3.00 (2.00–4.00) | yes" in page
    assert "A CPU" in page


def test_only_what_stands_between_the_marks_is_replaced(bench: Any, tmp_path: Path) -> None:
    report = bench("report")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.MARKS.begin}\nearlier\n{report.MARKS.end}\nafter\n", encoding="utf-8")
    report.MARKS.write(page, report.page(results()))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "earlier" not in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="marks"):
        report.MARKS.write(page, report.page(results()))


def test_the_search_finds_what_is_best_and_passes_over_what_fails(bench: Any) -> None:
    tune, load = bench("tune"), bench("load")

    def attempt(settings: Any) -> Any:
        if settings["batch"] == 64:
            raise load.LoadFailed("refused")
        rate = settings["batch"] * (3 if settings["workers"] == 2 else 1)
        return load.Figures(per_second=rate, p50_ms=rate, p99_ms=rate)

    grid = {"batch": (8, 16, 64), "workers": (1, 2)}
    many = tune.Search(grid, attempt, clients=32)
    assert many.run() == {"batch": 16, "workers": 2}
    assert [entry.get("failed") for entry in many.tries].count("refused") == 2
    assert len({json.dumps(entry["settings"]) for entry in many.tries}) == len(many.tries)
    assert tune.Search(grid, attempt, clients=1).run() == {"batch": 8, "workers": 1}
