"""What `lanza init handler` writes works as it stands, on small real models of each kind."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tiny
from lanza.cli.init import init
from lanza.engines.base import EngineOptions, HandlerRequest
from lanza.engines.handler import HandlerProcess
from lanza.engines.handler.starter import init_handler
from lanza.models.doctor import examine
from lanza.models.facts import read_facts

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXT = tiny.text(20)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def made(folder: Path) -> Any:
    """The handler that was written into the folder, made in this process: importing torch takes seconds."""
    path = init_handler(folder)
    spec = importlib.util.spec_from_file_location("starter_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(str(folder))
    report = examine(folder)
    assert not [finding for finding in report.findings if finding.path == "handler.py"], report.findings
    return handler


def described(folder: Path, task: str) -> Path:
    """The folder with a model card that names its task."""
    (folder / "README.md").write_text(f"---\npipeline_tag: {task}\n---\n", encoding="utf-8")
    return folder


def test_text_classification_is_softmax_of_the_model(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "m")
    handler = made(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = model(**tokenizer(TEXT, return_tensors="pt")).logits[0].softmax(-1).tolist()
    (labels,) = handler({"inputs": TEXT})
    assert {label["label"]: label["score"] for label in labels} == pytest.approx(
        {"negativo": expected[0], "positivo": expected[1]}
    )
    assert handler({"inputs": [TEXT], "parameters": {"top_k": 1}}) == [labels[:1]]
    assert len(handler({"inputs": tiny.text(2000)})[0]) == 2


def test_question_answering_finds_spans_of_the_text_as_sent(tmp_path: Path) -> None:
    handler = made(tiny.bert(tmp_path / "m", task="question-answering"))
    for context in (TEXT, tiny.text(900)):
        answer = handler({"inputs": {"question": "¿Cuándo?", "context": context}})
        assert answer["answer"]
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        assert 0 < answer["score"] <= 1
    assert len(handler({"inputs": [{"question": "¿?", "context": TEXT}] * 2})) == 2
    with pytest.raises(ValueError, match="context is empty"):
        handler({"inputs": {"question": "¿Cuándo?", "context": ""}})


def test_a_word_of_each_kind_is_found(tmp_path: Path) -> None:
    handler = made(tiny.bert(tmp_path / "m", task="token-classification", labels=("O", "B-PER", "I-PER")))
    for text in (TEXT, tiny.text(700)):
        entities = handler({"inputs": text})
        assert entities
        assert all({"entity_group", "score", "start", "end", "word"} <= set(entity) for entity in entities)


def test_masks_are_filled(tmp_path: Path) -> None:
    handler = made(tiny.bert(tmp_path / "m", task="fill-mask"))
    found = handler({"inputs": "La [MASK] de becas", "parameters": {"top_k": 3}})
    assert [set(one) for one in found] == [{"score", "token", "token_str", "sequence"}] * 3


def test_features_have_a_vector_per_token(tmp_path: Path) -> None:
    handler = made(tiny.bert(tmp_path / "m", task="feature-extraction"))
    (vectors,) = handler({"inputs": "hola"})
    assert vectors.shape[1] == tiny.WIDTH


def test_a_sentence_is_most_like_itself(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "m", task="sentence-similarity")
    (folder / "modules.json").write_text("[]")
    same, other = made(folder)({"inputs": {"source_sentence": "hola", "sentences": ["hola", TEXT]}})
    assert same == pytest.approx(1, abs=1e-5)
    assert other < same


def test_labels_are_chosen_from_those_given(tmp_path: Path) -> None:
    folder = tiny.bert(
        tmp_path / "m", task="zero-shot-classification", labels=("contradiction", "neutral", "entailment")
    )
    handler = made(described(folder, "zero-shot-classification"))
    labels = handler({"inputs": TEXT, "parameters": {"candidate_labels": ["becas", "fútbol"]}})
    assert {label["label"] for label in labels} == {"becas", "fútbol"}


@pytest.mark.parametrize(
    ("arch", "task", "key"),
    [
        ("bart", "summarization", "summary_text"),
        ("t5", "translation", "translation_text"),
        ("marian", "translation", "translation_text"),
        ("t5", "text-generation", "generated_text"),
    ],
)
def test_text_is_made_of_text(tmp_path: Path, arch: str, task: str, key: str) -> None:
    handler = made(described(tiny.seq2seq(tmp_path / "m", arch=arch), task))
    (answer,) = handler({"inputs": "la beca", "parameters": {"max_new_tokens": 5}})
    assert list(answer) == [key]


@pytest.mark.parametrize("arch", ["llama", "gpt2", "falcon", "qwen2"])
def test_text_goes_on(tmp_path: Path, arch: str) -> None:
    handler = made(tiny.causal(tmp_path / "m", arch=arch))
    (answer,) = handler({"inputs": TEXT, "parameters": {"max_new_tokens": 4, "return_full_text": True}})
    assert answer["generated_text"].startswith(TEXT)
    chat = [{"role": "user", "content": "hola"}]
    assert handler({"inputs": chat, "parameters": {"max_new_tokens": 4}})[0]["generated_text"]
    with pytest.raises(ValueError, match="over the model's 256"):
        handler({"inputs": tiny.text(600)})


def classifier_of_images(folder: Path) -> Path:
    torch.manual_seed(3)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=7,
    )
    tiny.save(transformers.ViTForImageClassification(config), folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def picture() -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.new("RGBA", (50, 40), (200, 10, 10, 255)).save(target, "PNG")
    return target.getvalue()


def ask(folder: Path, *requests: HandlerRequest) -> list[Any]:
    """The answers of the folder's handler, in its own process as it is served."""

    async def main() -> list[Any]:
        engine = HandlerProcess(EngineOptions(facts=read_facts(folder), task=None, why="", threads=1))
        try:
            await engine.start()
            return [json.loads((await engine.call(request)).body) for request in requests]
        finally:
            await asyncio.to_thread(engine.close)

    return asyncio.run(main())


def as_json(inputs: Any, **parameters: Any) -> HandlerRequest:
    return HandlerRequest(data={"inputs": inputs, "parameters": parameters}, content_type="application/json")


def test_images_are_classified_sent_either_way(tmp_path: Path) -> None:
    folder = classifier_of_images(tmp_path / "m")
    init_handler(folder)
    raw = HandlerRequest(data=picture(), content_type="image/png")
    encoded = as_json(base64.b64encode(picture()).decode(), top_k=7)
    five, seven = ask(folder, raw, encoded)
    assert seven[:5] == five
    assert sum(label["score"] for label in seven) == pytest.approx(1)


def bert_adapter(folder: Path) -> Path:
    return tiny.lora(folder / "adapter", base=tiny.bert(folder / "base"))


def llama_adapter(folder: Path) -> Path:
    base = tiny.causal(folder / "base")
    return tiny.lora(folder / "adapter", base=base, task_type="CAUSAL_LM", targets=("q_proj",))


@pytest.mark.parametrize("build", [bert_adapter, llama_adapter])
def test_an_adapter_is_put_on_its_base(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    folder = build(tmp_path)
    result = CliRunner().invoke(init, ["handler", str(folder)])
    assert result.exit_code == 0, result.output
    init_handler(tmp_path / "base")
    changed, plain = (ask(path, as_json(TEXT))[0] for path in (folder, tmp_path / "base"))
    assert changed != plain
