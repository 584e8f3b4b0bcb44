"""Pictures, recordings, tables and pages through the unmodified `InferenceClient`.

The numbers are compared with transformers' pipelines, where it still has them; those that it dropped
(captions, questions about pictures) are compared with the model run by hand in `tests/acceptance`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from transformers import pipeline

import tiny_media
from serving import served

CLOSE = 1e-3
PICTURE = tiny_media.picture()
PNG = tiny_media.encoded(PICTURE)
FLAC = tiny_media.recorded(tiny_media.sound(1.0))

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "image-classification": tiny_media.vit,
    "object-detection": tiny_media.yolos,
    "image-segmentation": tiny_media.segformer,
    "image-to-text": tiny_media.captioner,
    "automatic-speech-recognition": tiny_media.whisper,
    "audio-classification": tiny_media.spectrogram,
    "table-question-answering": tiny_media.tapas,
    "document-question-answering": tiny_media.layoutlm,
    "visual-question-answering": tiny_media.vilt,
}

Serve = Callable[[str], tuple[InferenceClient, Path]]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Serve]:
    """A client for the task named, and the folder of its model; served when first asked for."""
    with ExitStack() as stack:
        known: dict[str, tuple[InferenceClient, Path]] = {}

        def start(task: str) -> tuple[InferenceClient, Path]:
            if task not in known:
                folder = BUILDERS[task](tmp_path_factory.mktemp("models") / task)
                url = stack.enter_context(served(folder, home=home, task=task))
                known[task] = InferenceClient(model=url), folder
            return known[task]

        yield start


def scores(elements: Any) -> list[float]:
    return [e["score"] if isinstance(e, dict) else e.score for e in elements]


@pytest.mark.parametrize("parameters", [{}, {"top_k": 2}])
def test_image_classification(serve: Serve, tmp_path: Path, parameters: dict[str, Any]) -> None:
    """As raw bytes without a type, as a file with one, and with parameters as base64 in JSON."""
    client, folder = serve("image-classification")
    reference = pipeline("image-classification", str(folder), device="cpu")(PICTURE, **parameters)
    file = tmp_path / "image.png"
    file.write_bytes(PNG)
    for image in (PNG, file, str(file)):
        answer = client.image_classification(image, **parameters)
        assert [element.label for element in answer] == [element["label"] for element in reference]
        assert scores(answer) == pytest.approx(scores(reference), abs=CLOSE)


def test_object_detection(serve: Serve) -> None:
    client, folder = serve("object-detection")
    answer = client.object_detection(PNG, threshold=0.05)
    found = pipeline("object-detection", str(folder), device="cpu")(PICTURE, threshold=0.05)
    reference = sorted(found, key=lambda element: -element["score"])
    assert reference
    assert [(e.label, vars(e.box)) for e in answer] == [(e["label"], e["box"]) for e in reference]
    assert scores(answer) == pytest.approx(scores(reference), abs=CLOSE)


def test_image_segmentation(serve: Serve) -> None:
    client, folder = serve("image-segmentation")
    answer = client.image_segmentation(PNG)
    reference = pipeline("image-segmentation", str(folder), device="cpu")(PICTURE)
    assert reference
    assert [element.label for element in answer] == [element["label"] for element in reference]
    for element, expected in zip(answer, reference, strict=True):
        assert element.mask.size == PICTURE.size  # type: ignore[attr-defined]
        assert element.mask.tobytes() == expected["mask"].tobytes()  # type: ignore[attr-defined]


def test_image_to_text(serve: Serve) -> None:
    client, _ = serve("image-to-text")
    caption = client.image_to_text(PNG)
    assert caption.generated_text


def test_speech_recognition(serve: Serve) -> None:
    client, _ = serve("automatic-speech-recognition")
    answer = client.automatic_speech_recognition(FLAC)
    assert isinstance(answer.text, str)
    assert answer.text


def test_audio_classification(serve: Serve) -> None:
    client, folder = serve("audio-classification")
    answer = client.audio_classification(FLAC, top_k=2)
    reference = pipeline("audio-classification", str(folder), device="cpu")(tiny_media.sound(1.0), top_k=2)
    assert [element.label for element in answer] == [element["label"] for element in reference]
    assert scores(answer) == pytest.approx(scores(reference), abs=CLOSE)


def test_table_question_answering(serve: Serve) -> None:
    client, folder = serve("table-question-answering")
    table = {"Beca": ["grado", "máster"], "Euros": ["1200", "2400"]}
    question = "¿Cuánto paga la beca de máster?"
    answer: Any = client.table_question_answering(table=table, query=question)
    expected = pipeline("table-question-answering", str(folder), device="cpu")(table=table, query=question)
    found = answer[0] if isinstance(answer, list) else answer
    assert (found.answer, found.cells) == (expected["answer"], expected["cells"])


def test_document_question_answering(serve: Serve) -> None:
    client, _ = serve("document-question-answering")
    boxes: Any = [["beca", [40, 0, 150, 40]], ["cierra", [190, 0, 300, 40]], ["abril", [340, 0, 450, 40]]]
    answer = client.document_question_answering(PNG, question="¿Cuándo cierra?", word_boxes=boxes)
    assert answer[0].answer
    assert 0 <= answer[0].start <= answer[0].end < 3


def test_visual_question_answering(serve: Serve) -> None:
    client, _ = serve("visual-question-answering")
    answer = client.visual_question_answering(PNG, question="¿Qué hay en la imagen?", top_k=2)
    assert len(answer) == 2
    assert answer[0].score is not None
    assert answer[1].score is not None
    assert answer[0].score >= answer[1].score


BAD_IMAGES = {
    "text": (b"no soy una imagen", 415),
    "half a picture": (PNG[: len(PNG) // 2], 400),
    "nothing": (b"", 400),
    "a sound": (FLAC, 415),
    "base64 that is none": (b'{"inputs": "%%%"}', 400),
    "an address": (b'{"inputs": "https://example.com/cats.png"}', 400),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_what_is_no_image_is_told_so(serve: Serve, case: str) -> None:
    client, _ = serve("image-classification")
    body, _ = BAD_IMAGES[case]
    answer = httpx.post(str(client.model), content=body)
    assert answer.status_code in (400, 415)
    assert "image" in answer.json()["error"] or "inputs" in answer.json()["error"]
    assert httpx.post(str(client.model), content=PNG).status_code == 200


def test_a_decompression_bomb_is_refused_by_its_header(serve: Serve) -> None:
    """60,000 × 60,000 pixels in a few bytes: what is refused is the promise, nothing is unpacked."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
    client, _ = serve("image-classification")
    for body in (bomb, b'{"inputs": "' + base64.b64encode(bomb) + b'"}'):
        answer = httpx.post(str(client.model), content=body)
        assert answer.status_code == 400
        assert "pixels" in answer.json()["error"]
