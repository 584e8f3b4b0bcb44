"""Summaries and translations through torch, against transformers' own loop run by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import tiny
from lanza.engines.base import EngineOptions
from lanza.engines.transformers import load
from lanza.errors import BadRequest, InputTooLong, ModelError
from lanza.models.facts import read_facts, with_task
from lanza.protocols.huggingface import decode, encode
from lanza.tasks import find_task

TEXTS = ["Clara estudia en Sevilla.", "¿Cuándo puedo presentar la solicitud de la beca?", "hola"]
SHORT = {"max_new_tokens": 10}

Build = Callable[[Path], Path]


def start(path: Path, task: str) -> Any:
    facts = with_task(read_facts(path), task)
    return load(EngineOptions(facts=facts, task=find_task(task), why="test", threads=1))


def ask(engine: Any, task: str, **body: Any) -> Any:
    """One request in one batch, as the client gets it."""
    work = engine.prepare(decode(find_task(task), json.dumps(body).encode(), "application/json"))
    return json.loads(encode(work.finish(engine.forward(work.pieces, alone=True))))


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def by_hand(path: Path, texts: list[str], source: str | None = None, **arguments: Any) -> list[str]:
    """Each text alone through `generate`."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    if source is not None:
        tokenizer.src_lang = source
    answers = []
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        if model.config.model_type == "led":
            encoded["global_attention_mask"] = torch.zeros_like(encoded["input_ids"])
            encoded["global_attention_mask"][:, 0] = 1
        output = model.generate(**encoded, **{**SHORT, **arguments})[0]
        answers.append(tokenizer.decode(output, skip_special_tokens=True).strip())
    return answers


def family(arch: str) -> Build:
    return lambda path: tiny.seq2seq(path, arch=arch)


BUILDS: dict[str, Build] = {arch: family(arch) for arch in ("bart", "led", "mt5", "pegasus", "t5")}


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("arch", BUILDS)
def test_summaries_of_a_batch_are_those_of_each_text(tmp_path: Path, arch: str, beams: int) -> None:
    path = BUILDS[arch](tmp_path)
    engine = start(path, "summarization")
    settings = {**SHORT, "num_beams": beams}
    found = ask(engine, "summarization", inputs=TEXTS, parameters={"generate_parameters": settings})
    assert [entry["summary_text"] for entry in found] == by_hand(path, TEXTS, num_beams=beams)
    assert any(entry["summary_text"] for entry in found)


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_marian_translates_with_its_own_tokenizers(tmp_path: Path) -> None:
    path = tiny.marian(tmp_path)
    engine = start(path, "translation")
    found = ask(engine, "translation", inputs=TEXTS, parameters=SHORT)
    assert [entry["translation_text"] for entry in found] == by_hand(path, TEXTS)
    alone = ask(engine, "translation", inputs=TEXTS[0], parameters=SHORT)
    assert alone == found[:1]
    with pytest.raises(BadRequest, match="one direction only"):
        ask(engine, "translation", inputs="hola", parameters={"src_lang": "es", "tgt_lang": "en"})


@pytest.fixture(scope="module")
def nllb_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.nllb(tmp_path_factory.mktemp("nllb"))


@pytest.fixture(scope="module")
def nllb(nllb_path: Path) -> Any:
    return start(nllb_path, "translation")


class TestManyLanguages:
    @pytest.mark.parametrize("target", ["eng_Latn", "fra_Latn"])
    def test_the_source_frames_the_text_and_the_target_begins_the_answer(
        self, nllb_path: Path, nllb: Any, target: str
    ) -> None:
        parameters = {"src_lang": "spa_Latn", "tgt_lang": target, **SHORT}
        body = {"inputs": TEXTS, "parameters": parameters}
        work = nllb.prepare(decode(find_task("translation"), json.dumps(body).encode(), ""))
        codes = nllb._languages.codes
        assert {piece.ids[0] for piece in work.pieces} == {codes["spa_Latn"]}
        assert {output[1] for output in nllb.forward(work.pieces, alone=True)} == {codes[target]}
        found = [entry["translation_text"] for entry in ask(nllb, "translation", **body)]
        assert found == by_hand(nllb_path, TEXTS, source="spa_Latn", forced_bos_token_id=codes[target])

    def test_requests_of_different_languages_do_not_share_a_batch(self, nllb: Any) -> None:
        groups = set()
        for target in ("eng_Latn", "fra_Latn"):
            body = {"inputs": "hola", "parameters": {"src_lang": "spa_Latn", "tgt_lang": target}}
            groups.add(nllb.prepare(decode(find_task("translation"), json.dumps(body).encode(), "")).group)
        assert len(groups) == 2

    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({}, "send `parameters.src_lang`"),
            ({"src_lang": "spa_Latn"}, "belong together"),
            ({"src_lang": "spa_Latn", "tgt_lang": "klingon"}, "'klingon', which this model does not know"),
            ({"src_lang": "hola", "tgt_lang": "eng_Latn"}, "'hola', which"),
        ],
    )
    def test_unknown_languages_are_refused(self, nllb: Any, parameters: Any, said: str) -> None:
        with pytest.raises(BadRequest, match=said):
            ask(nllb, "translation", inputs="hola", parameters=parameters)


RECIPES = {
    "summarization": {"prefix": "summarize: ", "max_length": 7, "min_length": 2, "num_beams": 2},
    "translation_en_to_es": {"prefix": "Translate English to Spanish: ", "max_length": 9},
}


def t5_with_recipes(path: Path) -> Path:
    tiny.seq2seq(path, arch="t5")
    config = json.loads((path / "config.json").read_text()) | {"task_specific_params": RECIPES}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_t5_is_told_its_task_as_its_config_says(tmp_path: Path) -> None:
    path = t5_with_recipes(tmp_path)
    summary = ask(start(path, "summarization"), "summarization", inputs=[TEXTS[0], "summarize: " + TEXTS[0]])
    expected = by_hand(
        path, ["summarize: " + TEXTS[0]], max_new_tokens=None, max_length=7, min_length=2, num_beams=2
    )
    assert [entry["summary_text"] for entry in summary] == expected * 2
    engine = start(path, "translation")
    languages = {"src_lang": "en", "tgt_lang": "es"}
    told = ask(engine, "translation", inputs=TEXTS[0], parameters={**languages, **SHORT})
    prefixed = by_hand(path, ["Translate English to Spanish: " + TEXTS[0]])
    assert [entry["translation_text"] for entry in told] == prefixed
    untold = ask(engine, "translation", inputs=TEXTS[0], parameters=SHORT)
    assert [entry["translation_text"] for entry in untold] == by_hand(path, [TEXTS[0]]) != prefixed
    with pytest.raises(BadRequest, match="translation_en_to_es"):
        ask(engine, "translation", inputs="hola", parameters={"src_lang": "en", "tgt_lang": "de"})


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return start(tiny.seq2seq(tmp_path_factory.mktemp("bart")), "summarization")


class TestBadInput:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"generate_parameters": {"num_beams": 99}}, "num_beams` is 99"),
            ({"generate_parameters": {"assistant_model": "x"}}, "assistant_model"),
            ({"generate_parameters": {"max_new_tokens": 64}}, "positions for 64"),
            ({"max_length": 65}, "positions for 64"),
            ({"min_new_tokens": 9, "max_length": 3}, "at least 9"),
            ({"trust_remote_code": True}, "trust_remote_code"),
            ({"truncation": "all"}, "truncation"),
        ],
    )
    def test_parameters(self, bart: Any, parameters: Any, said: str) -> None:
        with pytest.raises(BadRequest, match=said):
            ask(bart, "summarization", inputs="hola", parameters=parameters)

    @pytest.mark.parametrize("inputs", ["", "  ", [], ["hola", ""]])
    def test_nothing_to_read(self, bart: Any, inputs: Any) -> None:
        with pytest.raises(BadRequest, match="empty"):
            ask(bart, "summarization", inputs=inputs)

    def test_a_text_over_the_positions_is_refused_or_cut(self, bart: Any) -> None:
        with pytest.raises(InputTooLong, match="at most 64"):
            ask(bart, "summarization", inputs=tiny.text(200))
        for truncation in (True, "longest_first"):
            parameters = {"truncation": truncation, **SHORT}
            assert ask(bart, "summarization", inputs=tiny.text(200), parameters=parameters)
        body = json.dumps({"inputs": tiny.text(200), "parameters": {"truncation": True}}).encode()
        piece = bart.prepare(decode(find_task("summarization"), body, "")).pieces[0]
        assert (len(piece.ids), piece.ids[-1]) == (64, 1)

    def test_an_answer_has_an_end_when_nobody_says(self, bart: Any) -> None:
        body = json.dumps({"inputs": "hola"}).encode()
        piece = bart.prepare(decode(find_task("summarization"), body, "")).pieces[0]
        assert dict(piece.arguments)["max_new_tokens"] == 63


def test_a_model_that_continues_texts_is_refused(tmp_path: Path) -> None:
    facts = read_facts(tiny.causal(tmp_path))
    with pytest.raises(ModelError, match="text-generation"):
        load(EngineOptions(facts=facts, task=find_task("summarization"), why="test"))
