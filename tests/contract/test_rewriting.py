"""Summaries and translations through the unmodified `InferenceClient`, against `generate` by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import tiny
from serving import served

TEXT = "La convocatoria de becas abre el 3 de marzo."


def by_hand(folder: Path, *, source: str | None = None, target: str | None = None) -> str:
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    forced = {}
    if source is not None:
        tokenizer.src_lang = source
        forced = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(target)}
    encoded = tokenizer(TEXT, return_tensors="pt", return_token_type_ids=False)
    text = tokenizer.decode(
        model.generate(**encoded, max_new_tokens=9, **forced)[0], skip_special_tokens=True
    )
    return str(text).strip()


def test_a_summary(tmp_path: Path, home: Path) -> None:
    folder = tiny.seq2seq(tmp_path, arch="bart")
    with served(folder, home=home, task="summarization", engine="transformers") as url:
        client = InferenceClient(url)
        answer = client.summarization(TEXT, generate_parameters={"max_new_tokens": 9})
        assert answer.summary_text == by_hand(folder)
        with pytest.raises(BadRequestError, match="at most 64"):
            client.summarization(tiny.text(300))
        assert client.summarization(tiny.text(300), truncation="longest_first").summary_text is not None


def test_a_translation_between_named_languages(tmp_path: Path, home: Path) -> None:
    folder = tiny.nllb(tmp_path)
    with served(folder, home=home, task="translation", engine="transformers") as url:
        client = InferenceClient(url)
        answer = client.translation(
            TEXT, src_lang="spa_Latn", tgt_lang="fra_Latn", generate_parameters={"max_new_tokens": 9}
        )
        assert answer.translation_text == by_hand(folder, source="spa_Latn", target="fra_Latn")
        with pytest.raises(BadRequestError, match="does not know"):
            client.translation(TEXT, src_lang="spa_Latn", tgt_lang="xx")
