"""Text models through torch, against the same models run by hand (or by a pipeline that still exists)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

import tiny
from lanza.engines.base import EngineOptions
from lanza.engines.transformers import load
from lanza.errors import BadRequest, InputTooLong, LanzaError, ModelError, UnsafeModel
from lanza.models.facts import read_facts, with_task
from lanza.protocols.huggingface import decode
from lanza.tasks import find_task

TEXTS = ["Clara estudia en Sevilla.", tiny.text(60), "¿Cuándo?", tiny.text(25, seed=3)]
CLOSE = 1e-3


def options(path: Path, task: str) -> EngineOptions:
    return EngineOptions(facts=with_task(read_facts(path), task), task=find_task(task), why="test", threads=1)


def start(path: Path, task: str) -> Any:
    return load(options(path, task))


def ask(engine: Any, task: str, **body: Any) -> Any:
    """One request, its pieces run in one batch."""
    work = engine.prepare(decode(find_task(task), json.dumps(body).encode(), "application/json"))
    outputs = engine.forward(work.pieces, alone=True)
    return work.finish([work.keep(i, output) for i, output in enumerate(outputs)])


def test_the_engine_says_what_it_is(tmp_path: Path) -> None:
    about = start(tiny.bert(tmp_path), "text-classification").about
    assert (about.engine, about.why, about.task) == ("transformers", "test", "text-classification")
    assert (about.limit, about.dtype) == (256, "float32")
    assert about.details["class"] == "BertForSequenceClassification"


@pytest.mark.parametrize("arch", ["bert", "distilbert", "electra", "roberta", "longformer", "deberta-v2"])
def test_classes_are_those_of_the_pipeline(tmp_path: Path, arch: str) -> None:
    path = tiny.encoder(tmp_path, arch=arch, labels=("malo", "regular", "bueno"))
    answers = ask(start(path, "text-classification"), "text-classification", inputs=TEXTS)
    expected = pipeline("text-classification", str(path), device="cpu")(TEXTS, top_k=None)
    assert len({answer[0].score for answer in answers}) == len(TEXTS)
    for answer, reference in zip(answers, expected, strict=True):
        assert [label.label for label in answer] == [entry["label"] for entry in reference]
        scores = [label.score for label in answer]
        assert scores == pytest.approx([entry["score"] for entry in reference], abs=CLOSE)


@pytest.mark.parametrize(("arch", "pads"), [("bert", True), ("longformer", True), ("fnet", False)])
def test_models_that_padding_disturbs_run_one_by_one(tmp_path: Path, arch: str, pads: bool) -> None:
    path = tiny.encoder(tmp_path, arch=arch)
    engine = start(path, "text-classification")
    assert engine.about.details["pads"] is pads
    answers = ask(engine, "text-classification", inputs=TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        assert answer == ask(engine, "text-classification", inputs=text)[0] or pads
        assert answer[0].score == pytest.approx(
            float(by_hand(class_of(path), path, [text])[0].softmax(-1).max()), abs=CLOSE
        )


def class_of(path: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(path)


def test_a_tokenizer_written_in_python_is_stood_in_for(tmp_path: Path) -> None:
    path = tiny.phobert(tmp_path)
    engine = start(path, "token-classification")
    parameters = {"aggregation_strategy": "none", "ignore_labels": []}
    entities = ask(engine, "token-classification", inputs=TEXTS[0], parameters=parameters)
    assert [TEXTS[0][entity.start : entity.end] for entity in entities] == list(TEXTS[0].replace(" ", ""))
    model, tokenizer = (
        AutoModelForTokenClassification.from_pretrained(path),
        AutoTokenizer.from_pretrained(path),
    )
    with torch.no_grad():
        logits = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0, 1:-1]
    expected = logits.softmax(-1).max(-1).values.tolist()
    assert [entity.score for entity in entities] == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize(("arch", "padding"), [("gpt2", 3), ("llama", 3), ("gpt2", None)])
def test_decoders_classify_by_their_last_token(tmp_path: Path, arch: str, padding: int | None) -> None:
    path = tiny.causal(tmp_path, arch=arch, classes=("no", "sí"), pad_token_id=padding)
    answers = ask(start(path, "text-classification"), "text-classification", inputs=TEXTS)
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(path),
        AutoTokenizer.from_pretrained(path),
    )
    for text, answer in zip(TEXTS, answers, strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
        found = {label.label: label.score for label in answer}
        assert [found["no"], found["sí"]] == pytest.approx(expected.tolist(), abs=CLOSE)


@pytest.mark.parametrize("arch", ["bert", "roberta"])
def test_two_texts_are_read_together(tmp_path: Path, arch: str) -> None:
    path = tiny.encoder(tmp_path, arch=arch)
    pair = {"text": TEXTS[0], "text_pair": TEXTS[2]}
    answer = ask(start(path, "text-classification"), "text-classification", inputs=[pair, TEXTS[1]])[0]
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(path),
        AutoTokenizer.from_pretrained(path),
    )
    with torch.no_grad():
        expected = model(**tokenizer(*pair.values(), return_tensors="pt")).logits[0].softmax(-1)
    assert answer[0].score == pytest.approx(float(expected.max()), abs=CLOSE)


@pytest.mark.parametrize("arch", ["bert", "roberta"])
def test_masks_are_filled_as_the_pipeline_fills_them(tmp_path: Path, arch: str) -> None:
    path = tiny.encoder(tmp_path, arch=arch, task="fill-mask")
    reference = pipeline("fill-mask", str(path), device="cpu")
    text = f"La beca abre en {reference.tokenizer.mask_token}."
    answer = ask(start(path, "fill-mask"), "fill-mask", inputs=text, parameters={"top_k": 7})
    for found, expected in zip(answer, reference(text, top_k=7), strict=True):
        assert (found.token, found.token_str.strip()) == (expected["token"], expected["token_str"].strip())
        assert found.score == pytest.approx(expected["score"], abs=CLOSE)


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_entities_are_those_of_the_pipeline(tmp_path: Path, strategy: str) -> None:
    path = tiny.bert(tmp_path, task="token-classification", labels=("O", "B-PER", "I-PER", "B-LOC"))
    answers = ask(
        start(path, "token-classification"),
        "token-classification",
        inputs=TEXTS,
        parameters={"aggregation_strategy": strategy},
    )
    reference = pipeline("token-classification", str(path), device="cpu")
    expected = reference(TEXTS, aggregation_strategy=strategy)
    assert any(answers)
    for answer, entities in zip(answers, expected, strict=True):
        places = [(entity.start, entity.end) for entity in answer]
        assert places == [(entity["start"], entity["end"]) for entity in entities]
        scores = [entity.score for entity in answer]
        assert scores == pytest.approx([entity["score"] for entity in entities], abs=CLOSE)


def best_span(path: Path, question: str, context: str, longest: int = 15) -> tuple[str, float]:
    """The answer by hand, from one window: the likeliest start and end in the context."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForQuestionAnswering.from_pretrained(path)
    encoded = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    inside = torch.tensor([sequence == 1 for sequence in encoded.sequence_ids(0)])
    with torch.no_grad():
        output = model(**encoded)
    starts = output.start_logits[0].masked_fill(~inside, -torch.inf).softmax(-1)
    ends = output.end_logits[0].masked_fill(~inside, -torch.inf).softmax(-1)
    scores = (starts[:, None] * ends[None, :]).triu().tril(longest - 1)
    first, last = divmod(int(scores.argmax()), scores.shape[1])
    return context[offsets[first][0] : offsets[last][1]].strip(), float(scores.max())


@pytest.mark.parametrize("arch", ["bert", "distilbert", "roberta", "electra"])
def test_answers_are_the_likeliest_spans(tmp_path: Path, arch: str) -> None:
    path = tiny.encoder(tmp_path, arch=arch, task="question-answering")
    question, contexts = "¿Cuándo abre la convocatoria?", [tiny.SENTENCES[0], tiny.text(40)]
    answers = ask(
        start(path, "question-answering"),
        "question-answering",
        inputs=[{"question": question, "context": context} for context in contexts],
        parameters={"align_to_words": False},
    )
    for context, answer in zip(contexts, answers, strict=True):
        text, score = best_span(path, question, context)
        assert (answer.answer, answer.score) == (text, pytest.approx(score, abs=CLOSE))
        assert context[answer.start : answer.end] == answer.answer


def test_longformer_reads_a_long_context_in_one_window(tmp_path: Path) -> None:
    path = tiny.longformer_qa(tmp_path)
    question, context = "¿Qué documentos necesito?", tiny.text(1700)
    assert len(AutoTokenizer.from_pretrained(path)(question, context)["input_ids"]) > 2000
    engine = start(path, "question-answering")
    body = {"inputs": {"question": question, "context": context}, "parameters": {"align_to_words": False}}
    answer = ask(engine, "question-answering", **body)
    text, score = best_span(path, question, context)
    assert (answer.answer, answer.score) == (text, pytest.approx(score, abs=CLOSE))


def test_longformer_is_not_confused_by_separators_in_a_text(tmp_path: Path) -> None:
    engine = start(tiny.longformer_qa(tmp_path, positions=256), "question-answering")
    inputs = {"question": "¿Cuándo </s> abre?", "context": "La beca </s></s> abre en marzo."}
    assert ask(engine, "question-answering", inputs=[inputs, inputs])[1].answer


def test_padding_changes_nothing(tmp_path: Path) -> None:
    engine = start(tiny.longformer_qa(tmp_path, positions=512), "question-answering")
    task = find_task("question-answering")
    pieces = []
    for size in (5, 90, 33):
        body = {"inputs": {"question": "¿Cuándo?", "context": tiny.text(size)}}
        pieces += engine.prepare(decode(task, json.dumps(body).encode(), "")).pieces
    together = engine.forward(pieces, alone=False)
    for piece, output in zip(pieces, together, strict=True):
        alone = engine.forward([piece], alone=True)[0]
        for name in ("start_logits", "end_logits"):
            assert output[name].shape == (len(piece),)
            np.testing.assert_allclose(output[name], alone[name], atol=CLOSE)


def test_vectors_without_pooling_are_the_hidden_states(tmp_path: Path) -> None:
    path = tiny.bert(tmp_path, task="feature-extraction")
    answer = ask(start(path, "feature-extraction"), "feature-extraction", inputs=TEXTS)
    reference = pipeline("feature-extraction", str(path), device="cpu")(TEXTS)
    for found, expected in zip(answer, reference, strict=True):
        np.testing.assert_allclose(found, expected, atol=CLOSE)


def sentence_model(path: Path, **pooling: Any) -> Path:
    tiny.bert(path, task="feature-extraction")
    steps = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": folder, "type": f"sentence_transformers.models.{kind}"}
        for i, (folder, kind) in enumerate(steps)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "pregunta: ", "document": ""}}
    (path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return path


def test_a_sentence_model_pools_as_its_folder_says(tmp_path: Path) -> None:
    path = sentence_model(tmp_path, word_embedding_dimension=32, pooling_mode_mean_tokens=True)
    engine = start(path, "feature-extraction")
    found = ask(engine, "feature-extraction", inputs=TEXTS, prompt_name="query")
    states = pipeline("feature-extraction", str(path), device="cpu")(["pregunta: " + text for text in TEXTS])
    for vector, tokens in zip(found, states, strict=True):
        mean = np.array(tokens[0]).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=CLOSE)


def test_a_sentence_model_with_an_unknown_step_is_refused(tmp_path: Path) -> None:
    path = sentence_model(tmp_path, pooling_mode="weightedmean")
    with pytest.raises(ModelError, match="weightedmean"):
        start(path, "feature-extraction")


def test_zero_shot_ranks_the_candidates(tmp_path: Path) -> None:
    path = tiny.bert(tmp_path, labels=("contradiction", "neutral", "entailment"))
    labels = ["becas", "fútbol", "comedor"]
    answer = ask(
        start(path, "zero-shot-classification"),
        "zero-shot-classification",
        inputs=TEXTS[0],
        parameters={"candidate_labels": labels},
    )
    expected = pipeline("zero-shot-classification", str(path), device="cpu")(TEXTS[0], labels)
    assert [entry.label for entry in answer] == expected["labels"]
    assert [entry.score for entry in answer] == pytest.approx(expected["scores"], abs=CLOSE)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft calls what transformers means to rename
@pytest.mark.parametrize("base_task", ["text-classification", "fill-mask"])
def test_an_adapter_answers_on_its_base(tmp_path: Path, base_task: str) -> None:
    import peft

    base = tiny.encoder(tmp_path / "base", arch="roberta", task=base_task)
    path = tiny.lora(tmp_path / "adapter", base=base)
    answers = ask(start(path, "text-classification"), "text-classification", inputs=TEXTS)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base)
    plain = [logits.tolist() for logits in by_hand(model, base, TEXTS)]
    adapted = peft.PeftModel.from_pretrained(model, path).eval()
    for answer, logits, without in zip(answers, by_hand(adapted, base, TEXTS), plain, strict=True):
        assert logits.tolist() != pytest.approx(without, abs=0.01)
        assert answer[0].score == pytest.approx(float(logits.softmax(-1).max()), abs=CLOSE)


def by_hand(model: Any, path: Path, texts: Sequence[str]) -> list[Any]:
    tokenizer = AutoTokenizer.from_pretrained(path)
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in texts]


def test_an_adapter_without_its_base_says_what_is_missing(tmp_path: Path) -> None:
    base = tiny.bert(tmp_path / "base")
    path = tiny.lora(tmp_path / "adapter", base=base)
    shutil.rmtree(base)
    with pytest.raises(ModelError, match="not on this machine"):
        start(path, "text-classification")


def test_a_text_over_the_positions_is_refused_or_cut(tmp_path: Path) -> None:
    engine = start(tiny.encoder(tmp_path, arch="roberta", positions=32), "text-classification")
    with pytest.raises(InputTooLong, match="at most 32"):
        ask(engine, "text-classification", inputs=tiny.text(60))
    cut = ask(engine, "text-classification", inputs=tiny.text(60), parameters={"truncation": True})
    assert sum(label.score for label in cut[0]) == pytest.approx(1.0)


@pytest.mark.parametrize("inputs", ["", [], "   "])
def test_empty_texts_are_refused(tmp_path: Path, inputs: Any) -> None:
    engine = start(tiny.bert(tmp_path), "text-classification")
    with pytest.raises(BadRequest):
        ask(engine, "text-classification", inputs=inputs)


class TestFoldersThatDoNotLoad:
    def refused(self, path: Path, task: str = "text-classification") -> LanzaError:
        with pytest.raises(ModelError) as caught:
            start(path, task)
        return caught.value

    def test_a_head_that_was_never_trained(self, tmp_path: Path) -> None:
        path = tiny.bert(tmp_path, task="fill-mask")
        config = json.loads((path / "config.json").read_text())
        config["architectures"] = ["BertForSequenceClassification"]
        (path / "config.json").write_text(json.dumps(config))
        assert "classifier.weight" in self.refused(path).message

    def test_weights_of_another_size(self, tmp_path: Path) -> None:
        path = tiny.bert(tmp_path)
        config = json.loads((path / "config.json").read_text()) | {"intermediate_size": 48}
        (path / "config.json").write_text(json.dumps(config))
        assert "[64, 32] in the file, [48, 32] by config.json" in self.refused(path).message

    def test_weights_cut_short(self, tmp_path: Path) -> None:
        weights = tiny.bert(tmp_path) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-64])
        assert "cannot be loaded" in self.refused(tmp_path).message

    def test_a_pickle_that_runs_code(self, tmp_path: Path) -> None:
        class Deceit:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "ran",))

        (tiny.bert(tmp_path) / "model.safetensors").unlink()
        torch.save({"classifier.weight": Deceit()}, tmp_path / "pytorch_model.bin")
        assert isinstance(self.refused(tmp_path), UnsafeModel)
        assert not (tmp_path / "ran").exists()

    def test_a_kernel_from_a_repository(self, tmp_path: Path) -> None:
        path = tiny.bert(tmp_path)
        config = json.loads((path / "config.json").read_text()) | {"attn_implementation": "ana/kernel"}
        (path / "config.json").write_text(json.dumps(config))
        assert isinstance(self.refused(path), UnsafeModel)


def test_clean_pickles_and_stray_adapter_configs_load(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = tiny.bert(tmp_path / "model")
    expected = ask(start(path, "text-classification"), "text-classification", inputs="hola")
    tiny.lora(tmp_path / "adapter", base=path)
    shutil.copy(tmp_path / "adapter" / "adapter_config.json", path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    found = ask(start(path, "text-classification"), "text-classification", inputs="hola")
    assert found[0][0].score == pytest.approx(expected[0][0].score, abs=CLOSE)
