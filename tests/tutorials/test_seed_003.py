"""What the tutorial on the transformers library computes at home, asked of a served model instead.

The models are stand-ins of the same architecture: BERT with five classes, ViT, Marian.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import InferenceClient

import tiny
import tiny_media
from serving import served

Run = Callable[..., dict[str, Any]]

STARS = tuple(f"{n} star{'s' if n > 1 else ''}" for n in range(1, 6))


def test_sentiment(run_tutorial: Run, tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.bert(tmp_path / "sentiment", labels=STARS)
    capsys.readouterr()
    names = run_tutorial(
        "003_sentiment.py", {"nlptown/bert-base-multilingual-uncased-sentiment": str(folder)}
    )
    printed = capsys.readouterr().out.strip()
    with served(folder, home=home, engine="onnx") as url:
        answer = InferenceClient(model=url).text_classification("Hugging Face is amazing! I love it.")
    assert answer[0].label == printed
    assert printed in STARS
    assert answer[0].score == pytest.approx(names["probabilities"].max().item(), abs=1e-3)


def test_image_classification(run_tutorial: Run, tmp_path: Path, home: Path) -> None:
    folder = tiny_media.vit(tmp_path / "vit")
    image = tmp_path / "cats.png"
    image.write_bytes(tiny_media.encoded(tiny_media.picture()))
    names = run_tutorial(
        "003_image.py",
        {
            "google/vit-base-patch16-224": str(folder),
            "https://huggingface.co/datasets/huggingface/documentation-images/resolve/main/cats.png": str(
                image
            ),
        },
    )
    with served(folder, home=home) as url:
        answer = InferenceClient(model=url).image_classification(image)
    assert [element.label for element in answer] == [element["label"] for element in names["result"]]
    assert [element.score for element in answer] == pytest.approx(
        [element["score"] for element in names["result"]], abs=1e-3
    )


@pytest.mark.filterwarnings(
    "ignore:Recommended. pip install sacremoses", "ignore:Using the model-agnostic default"
)
def test_translation(run_tutorial: Run, tmp_path: Path, home: Path) -> None:
    """The pipeline that the tutorial calls is gone from transformers 5: the client takes its place."""
    folder = tiny.marian(tmp_path / "opus-mt-es-en")
    text = "Me encanta programar."
    with served(folder, home=home, task="translation") as url:
        client = InferenceClient(model=url)

        def pipeline(task: str, model: str) -> Callable[[str], list[dict[str, str]]]:
            assert task == "translation"
            return lambda text: [{"translation_text": client.translation(text).translation_text}]

        names = run_tutorial("003_translation.py", {}, pipeline=pipeline)
        translated = names["translate_text"](text)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        ids = model.generate(**tokenizer(text, return_tensors="pt"))
    # transformers stops at 20 tokens unless it is told otherwise, Lanza goes on to the end
    assert translated.startswith(tokenizer.decode(ids[0], skip_special_tokens=True))
