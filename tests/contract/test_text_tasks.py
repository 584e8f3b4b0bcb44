"""Every encoder task through the unmodified `InferenceClient`, by both engines, against the model by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

import tiny
from serving import served

CLOSE = 1e-3
NLI = ("contradiction", "neutral", "entailment")
BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TEXT = "Clara estudia en Sevilla."

Ask = Callable[..., InferenceClient]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")

    def made(name: str, task: str, **more: Any) -> Path:
        return tiny.bert(root / name, task=task, **more)

    return {
        "text-classification": made("classes", "text-classification", labels=("malo", "regular", "bueno")),
        "zero-shot-classification": made("nli", "text-classification", labels=NLI),
        "token-classification": made("entities", "token-classification", labels=BIO),
        "question-answering": made("answers", "question-answering", positions=128),
        "fill-mask": made("masked", "fill-mask"),
        "feature-extraction": made("vectors", "feature-extraction"),
    }


@pytest.fixture(scope="module", params=["onnx", "transformers"])
def client(request: pytest.FixtureRequest, folders: dict[str, Path], home: Path) -> Iterator[Ask]:
    """A client for the task named; its model is served when first asked for."""
    with ExitStack() as stack:
        urls: dict[tuple[str, str], str] = {}

        def ask(task: str, folder: str | None = None) -> InferenceClient:
            key = (task, folder or task)
            if key not in urls:
                serving = served(folders[folder or task], home=home, task=task, engine=request.param)
                urls[key] = stack.enter_context(serving)
            return InferenceClient(model=urls[key])

        yield ask


def by_hand(folder: Path, auto_class: str, *texts: str, **options: Any) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, auto_class).from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(*texts, return_tensors="pt", **options)), tokenizer


def test_text_classification(client: Ask, folders: dict[str, Path]) -> None:
    answer = client("text-classification").text_classification(TEXT)
    output, _ = by_hand(folders["text-classification"], "AutoModelForSequenceClassification", TEXT)
    expected = output.logits[0].softmax(-1).numpy()
    assert [element.label for element in answer] == [
        ("malo", "regular", "bueno")[i] for i in np.argsort(-expected)
    ]
    assert np.allclose([e.score for e in answer], np.sort(expected)[::-1], atol=CLOSE)


def test_text_classification_with_parameters(client: Ask) -> None:
    answer = client("text-classification").text_classification(TEXT, top_k=1, function_to_apply="sigmoid")
    assert len(answer) == 1
    assert 0 < answer[0].score < 1


@pytest.mark.parametrize("strategy", [None, "simple", "first", "average", "max"])
def test_token_classification(client: Ask, folders: dict[str, Path], strategy: str | None) -> None:
    given: Any = {"aggregation_strategy": strategy} if strategy else {}
    text = tiny.text(40)
    answer = client("token-classification").token_classification(text, **given)
    folder = str(folders["token-classification"])
    reference = transformers.pipeline(
        "token-classification", folder, device="cpu", aggregation_strategy=strategy or "none"
    )(text)
    label = "entity_group" if strategy else "entity"
    assert reference
    assert [(getattr(e, label), e.start, e.end) for e in answer] == [
        (e[label], e["start"], e["end"]) for e in reference
    ]
    assert np.allclose([e.score for e in answer], [e["score"] for e in reference], atol=CLOSE)


def test_question_answering_within_one_window(client: Ask, folders: dict[str, Path]) -> None:
    question, context = "¿Dónde estudia Clara?", "Clara estudia medicina en Sevilla. La beca cierra en abril."
    answer = client("question-answering").question_answering(
        question=question, context=context, align_to_words=False
    )
    output, tokenizer = by_hand(
        folders["question-answering"], "AutoModelForQuestionAnswering", question, context
    )
    encoded = tokenizer(question, context, return_offsets_mapping=True)
    inside = [i for i, s in enumerate(encoded.sequence_ids()) if s == 1]
    start = output.start_logits[0, inside].double().softmax(-1)
    end = output.end_logits[0, inside].double().softmax(-1)
    scores = torch.triu(start[:, None] * end[None, :]).tril(14)
    first, last = divmod(int(scores.argmax()), len(inside))
    offsets = encoded["offset_mapping"]
    expected = (offsets[inside[first]][0], offsets[inside[last]][1])
    assert (answer.start, answer.end) == expected
    assert answer.answer == context[answer.start : answer.end]
    assert answer.score == pytest.approx(float(scores.max()), abs=CLOSE)


def test_question_answering_over_many_windows(client: Ask) -> None:
    context = tiny.text(600)
    asked = client("question-answering").question_answering(
        question="¿Qué documentos necesito?", context=context, top_k=5, doc_stride=16
    )
    assert isinstance(asked, list)
    assert len(asked) == 5
    assert all(element.answer == context[element.start : element.end] for element in asked)
    assert [e.score for e in asked] == sorted((e.score for e in asked), reverse=True)
    assert sum(e.score for e in asked) <= 1


def test_question_answering_may_have_no_answer(client: Ask) -> None:
    answers = client("question-answering").question_answering(
        question="¿Quién?", context=TEXT, handle_impossible_answer=True, top_k=50
    )
    assert isinstance(answers, list)
    assert any(element.answer == "" and element.start == element.end == 0 for element in answers)


def test_fill_mask(client: Ask, folders: dict[str, Path]) -> None:
    text = "La [MASK] cierra en abril."
    answer = client("fill-mask").fill_mask(text, top_k=3)
    reference = transformers.pipeline("fill-mask", str(folders["fill-mask"]), device="cpu")(text, top_k=3)
    assert [(e.token, e.token_str, e.sequence) for e in answer] == [
        (e["token"], e["token_str"], e["sequence"]) for e in reference
    ]
    assert np.allclose([e.score for e in answer], [e["score"] for e in reference], atol=CLOSE)


def test_fill_mask_with_targets(client: Ask) -> None:
    answer = client("fill-mask").fill_mask("La [MASK] cierra.", targets=["beca", "biblioteca"])
    assert len(answer) == 2


def test_feature_extraction_of_tokens(client: Ask, folders: dict[str, Path]) -> None:
    vectors = client("feature-extraction").feature_extraction(TEXT)
    output, _ = by_hand(folders["feature-extraction"], "AutoModel", TEXT)
    assert np.allclose(vectors, output.last_hidden_state.numpy(), atol=CLOSE)


def test_sentence_similarity(client: Ask, folders: dict[str, Path]) -> None:
    others = ["Clara vive en Sevilla.", "El comedor cierra a las cuatro."]
    answer = client("sentence-similarity", "feature-extraction").sentence_similarity(
        TEXT, other_sentences=others
    )
    means = [
        by_hand(folders["feature-extraction"], "AutoModel", text)[0].last_hidden_state[0].mean(0)
        for text in (TEXT, *others)
    ]
    expected = [torch.cosine_similarity(means[0], mean, dim=0).item() for mean in means[1:]]
    assert np.allclose(answer, expected, atol=CLOSE)


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_classification(client: Ask, folders: dict[str, Path], multi_label: bool) -> None:
    labels = ["fechas", "dinero", "documentos"]
    answer = client("zero-shot-classification").zero_shot_classification(
        TEXT, labels, multi_label=multi_label, hypothesis_template="Esto trata de {}."
    )
    reference = transformers.pipeline(
        "zero-shot-classification", str(folders["zero-shot-classification"]), device="cpu"
    )(TEXT, labels, multi_label=multi_label, hypothesis_template="Esto trata de {}.")
    assert [e.label for e in answer] == reference["labels"]
    assert np.allclose([e.score for e in answer], reference["scores"], atol=CLOSE)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's call
def test_a_lora_adapter_is_served_on_its_base(folders: dict[str, Path], tmp_path: Path, home: Path) -> None:
    base = folders["text-classification"]
    folder = tiny.lora(tmp_path / "adapter", base=base)
    with served(folder, home=home) as url:
        answer = InferenceClient(model=url).text_classification(TEXT)
    alone, tokenizer = by_hand(base, "AutoModelForSequenceClassification", TEXT)
    model = peft.AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=3).eval()
    with torch.inference_mode():
        logits = model(**tokenizer(TEXT, return_tensors="pt")).logits[0]
    expected = sorted(logits.softmax(-1).tolist(), reverse=True)
    assert [element.score for element in answer] == pytest.approx(expected, abs=CLOSE)
    assert not torch.allclose(logits, alone.logits[0], atol=CLOSE)


def test_an_input_that_is_too_long_names_both_figures(client: Ask) -> None:
    with pytest.raises((BadRequestError, HfHubHTTPError)) as caught:
        client("text-classification").text_classification(tiny.text(900))
    assert caught.value.response.status_code == 400
    assert "at most 256" in caught.value.response.json()["error"]


def test_the_answer_says_which_engine_gave_it(client: Ask, request: pytest.FixtureRequest) -> None:
    import httpx

    url = client("text-classification").model
    answer = httpx.post(str(url), json={"inputs": TEXT})
    info = httpx.get(f"{url}/info").json()
    assert answer.headers["x-lanza-engine"] == info["engine"]
    assert answer.headers["x-lanza-engine-reason"]
    assert info["why"]
