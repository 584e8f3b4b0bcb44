"""Images, recordings, tables and pages through torch, against a pipeline or the same models run by hand."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, pipeline

import tiny_media
from lanza.engines.base import BatchEngine, EngineOptions
from lanza.engines.transformers import load
from lanza.engines.transformers.ctc import WHOLE
from lanza.errors import BadRequest, LanzaError, ModelError, UnsupportedMedia
from lanza.models.facts import read_facts, with_task
from lanza.protocols.huggingface import decode, encode
from lanza.tasks import find_task
from lanza.tasks.image import MAX_PIXELS

CLOSE = 1e-3
PICTURES = [
    tiny_media.picture(48, 40),
    tiny_media.picture(90, 33, seed=1),
    tiny_media.picture(32, 64, seed=2),
]
SPEECH = "automatic-speech-recognition"
LONG = 95.0
WORDS = ["La", "beca", "de", "transporte", "cierra", "el", "28", "de", "abril", "Total:", "1.200", "euros"]
WORD_BOXES = [
    [word, [40 + 150 * (i % 4), 50 * (i // 4), 150 + 150 * (i % 4), 40 + 50 * (i // 4)]]
    for i, word in enumerate(WORDS)
]
TABLE = {
    "Beca": ["grado", "máster", "comedor", "transporte"],
    "Euros": ["1200", "2400", "300", "150"],
    "Cierre": ["28 de abril", "3 de mayo", "9 de junio", "28 de abril"],
}


def start(path: Path, task: str) -> Any:
    facts = with_task(read_facts(path), task)
    return load(EngineOptions(facts=facts, task=find_task(task), why="test", threads=1))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def prepared(engine: Any, task: str, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return engine.prepare(decode(find_task(task), raw, "" if isinstance(body, bytes) else "application/json"))


def ask(engine: Any, task: str, body: Any) -> Any:
    """One request as it comes in; its answer as it goes out."""
    work = prepared(engine, task, body)
    return json.loads(encode(work.finish(engine.forward(work.pieces, alone=True))))


def ask_together(engine: Any, task: str, bodies: list[Any]) -> list[Any]:
    """Several requests whose pieces run in one batch."""
    works = [prepared(engine, task, body) for body in bodies]
    assert len({work.group for work in works}) == 1
    outputs = list(engine.forward([piece for work in works for piece in work.pieces], alone=False))
    return [json.loads(encode(work.finish([outputs.pop(0) for _ in work.pieces]))) for work in works]


def assert_same_scores(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [entry["label"] for entry in found] == [entry["label"] for entry in expected]
    assert [entry["score"] for entry in found] == pytest.approx([e["score"] for e in expected], abs=CLOSE)


def mask_of(segment: dict[str, Any]) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(segment["mask"])))
    assert image.mode == "L"
    return np.asarray(image)


# Images


def test_an_image_is_classified_as_by_the_pipeline(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path)
    engine = start(path, "image-classification")
    assert isinstance(engine, BatchEngine)
    reference = pipeline("image-classification", str(path), device="cpu")
    answers = [ask(engine, "image-classification", tiny_media.encoded(picture)) for picture in PICTURES]
    for picture, answer in zip(PICTURES, answers, strict=True):
        assert_same_scores(answer, reference(picture))
    assert len({answer[0]["score"] for answer in answers}) == len(PICTURES)


def test_images_of_other_sizes_share_a_batch_and_keep_their_parameters(tmp_path: Path) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    bodies: list[Any] = [
        {"inputs": text(tiny_media.encoded(picture)), "parameters": {"top_k": top_k}}
        for picture, top_k in zip(PICTURES, (1, 7, None), strict=True)
    ]
    together = ask_together(engine, "image-classification", bodies)
    assert [len(answer) for answer in together] == [1, 7, 5]
    for body, answer in zip(bodies, together, strict=True):
        assert_same_scores(answer, ask(engine, "image-classification", body))


def test_a_model_of_several_labels_at_once_has_independent_scores(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path, problem_type="multi_label_classification")
    engine = start(path, "image-classification")
    data = text(tiny_media.encoded(PICTURES[0]))
    answer = ask(engine, "image-classification", {"inputs": data, "parameters": {"top_k": 7}})
    raw = ask(
        engine,
        "image-classification",
        {"inputs": data, "parameters": {"top_k": 7, "function_to_apply": "none"}},
    )
    expected = [1 / (1 + np.exp(-entry["score"])) for entry in raw]
    assert [entry["score"] for entry in answer] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("build", [tiny_media.yolos, tiny_media.detr])
def test_objects_are_those_of_the_pipeline(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    path = build(tmp_path)
    engine = start(path, "object-detection")
    reference = pipeline("object-detection", str(path), device="cpu")
    for picture in PICTURES:
        body = {"inputs": text(tiny_media.encoded(picture)), "parameters": {"threshold": 0.05}}
        found = ask(engine, "object-detection", body)
        expected = sorted(reference(picture, threshold=0.05), key=lambda entry: -entry["score"])
        assert len(found) == 6
        assert_same_scores(found, expected)
        assert [entry["box"] for entry in found] == [entry["box"] for entry in expected]
    unasked = ask(engine, "object-detection", tiny_media.encoded(PICTURES[0]))
    assert unasked == ask(engine, "object-detection", body_of(PICTURES[0], threshold=0.5))


def body_of(picture: Any, **parameters: Any) -> dict[str, Any]:
    return {"inputs": text(tiny_media.encoded(picture)), "parameters": parameters}


@pytest.mark.parametrize("subtask", ["panoptic", "instance", "semantic"])
@pytest.mark.parametrize("segments", [False, True], ids=["maskformer", "detr"])
def test_segments_are_those_of_the_pipeline(tmp_path: Path, segments: bool, subtask: str) -> None:
    path = tiny_media.detr(tmp_path, segments=True) if segments else tiny_media.maskformer(tmp_path)
    engine = start(path, "image-segmentation")
    reference = pipeline("image-segmentation", str(path), device="cpu")
    wishes = {
        "subtask": subtask,
        "threshold": 0.2,
        "mask_threshold": 0.4,
        "overlap_mask_area_threshold": 0.1,
    }
    found = ask(engine, "image-segmentation", body_of(PICTURES[1], **wishes))
    expected = reference(PICTURES[1], **wishes)
    assert found
    found_by_score = sorted(found, key=lambda entry: (-(entry["score"] or 0), entry["label"]))
    expected.sort(key=lambda entry: (-(entry["score"] or 0), entry["label"]))
    for segment, other in zip(found_by_score, expected, strict=True):
        assert segment["label"] == other["label"]
        assert segment["score"] == (other["score"] and pytest.approx(other["score"], abs=CLOSE))
        assert mask_of(segment).shape == (33, 90)
        assert (mask_of(segment) == np.asarray(other["mask"])).mean() > 0.999


def test_a_semantic_model_does_that_and_nothing_else(tmp_path: Path) -> None:
    path = tiny_media.segformer(tmp_path)
    engine = start(path, "image-segmentation")
    found = ask(engine, "image-segmentation", tiny_media.encoded(PICTURES[0]))
    expected = pipeline("image-segmentation", str(path), device="cpu")(PICTURES[0])
    assert len(found) > 1
    assert [segment["label"] for segment in found] == [segment["label"] for segment in expected]
    for segment, other in zip(found, expected, strict=True):
        assert segment["score"] is None
        assert (mask_of(segment) == np.asarray(other["mask"])).all()
    assert (sum((mask_of(segment) > 0).astype(int) for segment in found) == 1).all()
    with pytest.raises(BadRequest, match="it does semantic"):
        prepared(engine, "image-segmentation", body_of(PICTURES[0], subtask="panoptic"))


def test_masks_of_a_photograph_are_scaled_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start(tiny_media.segformer(tmp_path), "image-segmentation")
    exact = ask(engine, "image-segmentation", tiny_media.encoded(tiny_media.picture(300, 200)))
    monkeypatch.setattr("lanza.engines.transformers.segmentation.WORK", 7 * 75 * 50)
    coarse = ask(engine, "image-segmentation", tiny_media.encoded(tiny_media.picture(300, 200)))
    assert [segment["label"] for segment in coarse] == [segment["label"] for segment in exact]
    for segment, other in zip(coarse, exact, strict=True):
        assert mask_of(segment).shape == (200, 300)
        assert (mask_of(segment) == mask_of(other)).mean() > 0.95


@pytest.mark.parametrize("build", [tiny_media.captioner, tiny_media.blip, tiny_media.git])
def test_captions_are_what_the_model_generates(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    path = build(tmp_path)
    engine = start(path, "image-to-text")
    model = transformers.AutoModelForImageTextToText.from_pretrained(path).eval()
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(path)
    bodies: list[Any] = [body_of(picture, max_new_tokens=12) for picture in PICTURES]
    for picture, answer in zip(PICTURES, ask_together(engine, "image-to-text", bodies), strict=True):
        ids = model.generate(
            pixel_values=processor(picture, return_tensors="pt").pixel_values, max_new_tokens=12
        )
        expected = tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip()
        assert answer == [{"generated_text": expected}]
        assert expected


def test_generation_parameters_are_heard_and_bounded(tmp_path: Path) -> None:
    engine = start(tiny_media.captioner(tmp_path), "image-to-text")
    short = ask(engine, "image-to-text", body_of(PICTURES[0], generation_parameters={"max_new_tokens": 3}))
    long = ask(
        engine, "image-to-text", body_of(PICTURES[0], generate_kwargs={"max_new_tokens": 30, "num_beams": 2})
    )
    assert len(short[0]["generated_text"]) < len(long[0]["generated_text"])
    for parameters, told in (
        ({"max_new_tokens": 64}, "at most 63 tokens"),
        ({"max_new_tokens": 0}, "from 1 to"),
        ({"generation_parameters": {"num_beams": 1000}}, "num_beams"),
        ({"generation_parameters": {"top_p": 0.0}}, "above 0"),
        ({"generation_parameters": {"penalty_alpha": 0.6}}, "not served"),
        ({"generation_parameters": {"min_new_tokens": 9, "max_new_tokens": 3}}, "min_new_tokens"),
        ({"generation_parameters": {"bad_words_ids": [[1]]}}, "bad_words_ids"),
        ({"generation_parameters": {}, "generate_kwargs": {}}, "the same"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "image-to-text", body_of(PICTURES[0], **parameters))


def _bomb() -> bytes:
    """A file of some kilobytes that would be gigabytes of pixels."""
    small = tiny_media.encoded(Image.new("1", (8, 8)))
    side = (40_000).to_bytes(4, "big")
    head = bytearray(small)
    head[16:24] = side + side
    import zlib

    head[29:33] = zlib.crc32(bytes(head[12:29])).to_bytes(4, "big")
    return bytes(head)


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (b"hola, esto no es una imagen", UnsupportedMedia, "it is the text 'hola"),
        (b"https://example.org/gato.png", UnsupportedMedia, "it is the text 'https"),
        (b"\x00\x01\x02" * 50, UnsupportedMedia, "not an image"),
        (tiny_media.encoded(tiny_media.picture(300, 300))[:4000], BadRequest, "damaged"),
        (tiny_media.encoded(tiny_media.picture(300, 300), "JPEG")[:3000], BadRequest, "damaged"),
        (tiny_media.encoded(tiny_media.picture(300, 300), "WEBP")[:3000], BadRequest, "damaged"),
        (b"\x89PNG\r\n\x1a\n", LanzaError, "image"),
        (_bomb(), BadRequest, "pixels"),
        (tiny_media.encoded(Image.new("RGB", (3000, 4))), BadRequest, "times as long"),
        (tiny_media.recorded(tiny_media.sound(0.2)), UnsupportedMedia, "not an image"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_send(
    tmp_path: Path, data: bytes, kind: type[LanzaError], told: str
) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    bodies: list[Any] = [data, {"inputs": text(data)}]
    for body in bodies:
        with pytest.raises(kind, match=told) as refused:
            prepared(engine, "image-classification", body)
        assert 400 <= refused.value.status < 500
    assert ask(engine, "image-classification", tiny_media.encoded(PICTURES[0]))


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("https://example.org/gato.png", "fetches nothing"),
        ("no es base64", "not base64"),
        ("", "empty"),
        ("data:image/png,abc", "without base64"),
        (["a", "b"], "must be a string"),
        (None, "must be a string"),
        (7, "must be a string"),
    ],
)
def test_inputs_that_are_no_upload(tmp_path: Path, inputs: Any, told: str) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    with pytest.raises(BadRequest, match=told):
        prepared(engine, "image-classification", {"inputs": inputs})


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (3, 1), (2, 40)])
def test_the_smallest_images_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    image = tiny_media.picture(*size)
    pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) / 127.5 - 1
    with torch.no_grad():
        expected = engine.model(torch.tensor(pixels).permute(2, 0, 1)[None].float()).logits.softmax(-1).max()
    answer = ask(engine, "image-classification", tiny_media.encoded(image))
    assert answer[0]["score"] == pytest.approx(expected.item(), abs=CLOSE)


@pytest.mark.parametrize(
    "parameters", [{"top_k": 0}, {"top_k": "dos"}, {"function_to_apply": "max"}, {"k": 1}]
)
def test_wrong_parameters_of_classification(tmp_path: Path, parameters: dict[str, Any]) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    with pytest.raises(BadRequest):
        prepared(engine, "image-classification", body_of(PICTURES[0], **parameters))


def test_a_threshold_is_a_probability(tmp_path: Path) -> None:
    engine = start(tiny_media.yolos(tmp_path), "object-detection")
    for threshold in (-0.1, 1.5):
        with pytest.raises(BadRequest, match="from 0 to 1"):
            prepared(engine, "object-detection", body_of(PICTURES[0], threshold=threshold))


def test_a_folder_without_its_image_processor_is_refused(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path)
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="image processor"):
        start(path, "image-classification")


# Recordings


@pytest.mark.parametrize("long_form", [False, True], ids=["group", "layer"])
@pytest.mark.parametrize("times", [None, "word", "char"])
def test_letters_are_those_of_the_pipeline(tmp_path: Path, long_form: bool, times: str | None) -> None:
    path = tiny_media.wav2vec2(tmp_path, long_form=long_form)
    engine = start(path, SPEECH)
    reference = pipeline(SPEECH, str(path), device="cpu")
    samples = tiny_media.sound(1.7)
    data = tiny_media.recorded(samples, kind="WAV", subtype="FLOAT")
    found = ask(engine, SPEECH, {"inputs": text(data), "parameters": {"return_timestamps": times}})
    expected = reference(samples, return_timestamps=times)
    assert found["text"]
    assert found["text"] == expected["text"]
    if times is None:
        assert "chunks" not in found
        return
    assert [chunk["text"] for chunk in found["chunks"]] == [chunk["text"] for chunk in expected["chunks"]]
    for chunk, other in zip(found["chunks"], expected["chunks"], strict=True):
        assert chunk["timestamp"] == pytest.approx(list(other["timestamp"]), abs=0.011)


def test_a_recording_longer_than_a_window_reads_like_the_whole(tmp_path: Path) -> None:
    # Attention over the whole is not what a window sees, so a random network differs in places; a join
    # that lost or doubled seconds would differ in length and in everything after it.
    path = tiny_media.wav2vec2(tmp_path, long_form=True)
    engine = start(path, SPEECH)
    samples = tiny_media.sound(LONG)
    assert LONG > WHOLE
    body = {"inputs": text(tiny_media.recorded(samples)), "parameters": {"return_timestamps": "char"}}
    work = prepared(engine, SPEECH, body)
    assert len(work.pieces) > 2
    found = json.loads(encode(work.finish(engine.forward(work.pieces, alone=True))))
    frames = np.concatenate(engine.forward(work.pieces, alone=True))
    with torch.no_grad():
        inputs = engine._extractor(samples, sampling_rate=tiny_media.RATE, return_tensors="pt")
        whole = engine.model(**inputs).logits.argmax(-1)[0].numpy()
    assert len(frames) == len(whole)
    assert (frames == whole).mean() > 0.8
    assert found["chunks"][-1]["timestamp"][1] == pytest.approx(LONG, abs=0.5)
    ends = [chunk["timestamp"][1] for chunk in found["chunks"]]
    assert ends == sorted(ends)


def test_a_recording_is_classified_as_by_the_pipeline(tmp_path: Path) -> None:
    path = tiny_media.wav2vec2(tmp_path, labels=("voz", "música", "ruido"))
    engine = start(path, "audio-classification")
    reference = pipeline("audio-classification", str(path), device="cpu")
    clips = [tiny_media.sound(1.0), tiny_media.sound(1.0, seed=3)]
    recordings: list[Any] = [tiny_media.recorded(clip, kind="WAV", subtype="FLOAT") for clip in clips]
    answers = ask_together(engine, "audio-classification", recordings)
    for clip, answer in zip(clips, answers, strict=True):
        assert_same_scores(answer, reference(clip, top_k=3))
    assert answers[0] != answers[1]
    limited = {"inputs": text(recordings[0]), "parameters": {"top_k": 1}}
    assert len(ask(engine, "audio-classification", limited)) == 1


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", None), ("OGG", None), ("MP3", None)]
)
def test_each_format_and_rate_is_read(tmp_path: Path, kind: str, subtype: str | None) -> None:
    path = tiny_media.wav2vec2(tmp_path, labels=("voz", "música"))
    engine = start(path, "audio-classification")
    rate = 44_100
    samples = tiny_media.sound(1.0, rate=rate)
    stereo = np.stack([samples, samples], axis=1)
    work = prepared(
        engine,
        "audio-classification",
        tiny_media.recorded(stereo, rate=rate, kind=kind, subtype=subtype),
    )
    heard = work.pieces[0].tensors["input_values"][0].numpy()
    # What was heard is the same sound at 16 kHz: normalised, it correlates with one made at that rate.
    straight = tiny_media.sound(1.0)
    length = min(len(heard), len(straight))
    assert abs(len(heard) - len(straight)) < 0.15 * tiny_media.RATE
    if kind != "MP3":  # which shifts what it holds by its frames
        assert np.corrcoef(heard[:length], straight[:length])[0, 1] > 0.9


def whisper_by_hand(path: Path, samples: Any, **how: Any) -> tuple[Any, Any]:
    model = transformers.WhisperForConditionalGeneration.from_pretrained(path).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    long = len(samples) > extractor.n_samples
    inputs = extractor(
        samples,
        sampling_rate=tiny_media.RATE,
        return_tensors="pt",
        return_attention_mask=True,
        **({"truncation": False, "padding": "longest"} if long else {}),
    )
    return model.generate(**inputs, **how), tokenizer


def test_whisper_writes_what_it_generates(tmp_path: Path) -> None:
    path = tiny_media.whisper(tmp_path)
    engine = start(path, SPEECH)
    clips = [tiny_media.sound(1.3), tiny_media.sound(2.9, seed=4)]
    bodies: list[Any] = [
        {
            "inputs": text(tiny_media.recorded(clip)),
            "parameters": {"generation_parameters": {"language": "spanish", "max_new_tokens": 12}},
        }
        for clip in clips
    ]
    answers = ask_together(engine, SPEECH, bodies)
    for clip, answer in zip(clips, answers, strict=True):
        ids, tokenizer = whisper_by_hand(path, _as_sent(clip), language="es", max_new_tokens=12)
        assert answer == {"text": tokenizer.decode(ids[0], skip_special_tokens=True)}
        assert answer["text"]


def _as_sent(samples: Any) -> Any:
    import soundfile

    return soundfile.read(io.BytesIO(tiny_media.recorded(samples)), dtype="float32")[0]


@pytest.mark.parametrize("seconds", [2.0, 41.0])
def test_whisper_tells_times_of_phrases_and_words(tmp_path: Path, seconds: float) -> None:
    path = tiny_media.whisper(tmp_path)
    engine = start(path, SPEECH)
    samples = _as_sent(tiny_media.sound(seconds))
    data = text(tiny_media.recorded(samples))
    phrases = ask(engine, SPEECH, {"inputs": data, "parameters": {"return_timestamps": True}})
    words = ask(engine, SPEECH, {"inputs": data, "parameters": {"return_timestamps": "word"}})
    plain = ask(engine, SPEECH, {"inputs": data})
    made, tokenizer = whisper_by_hand(path, samples, return_timestamps=True, return_segments=True)
    segments = made["segments"][0]
    expected = [tokenizer.decode(segment["tokens"], skip_special_tokens=True) for segment in segments]
    assert phrases["text"] == "".join(expected)
    assert [chunk["text"] for chunk in phrases["chunks"]] == [phrase for phrase in expected if phrase]
    kept = [segment for segment, phrase in zip(segments, expected, strict=True) if phrase]
    for chunk, segment in zip(phrases["chunks"], kept, strict=True):
        start_end = [min(float(segment[name]), seconds) for name in ("start", "end")]
        assert chunk["timestamp"] == pytest.approx(start_end, abs=0.011)
    assert "".join(chunk["text"] for chunk in words["chunks"]) == words["text"]
    assert all(0 <= a <= b <= seconds for a, b in (chunk["timestamp"] for chunk in words["chunks"]))
    if seconds > 30:
        assert plain["text"] == phrases["text"]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"return_timestamps": "char"}, "characters"),
        ({"generation_parameters": {"language": "klingon"}}, "klingon"),
        ({"generation_parameters": {"language": "fr"}}, "en, es, gl"),
        ({"generation_parameters": {"max_new_tokens": 61}}, "at most 60"),
        ({"return_timestamps": "phrase"}, "return_timestamps"),
    ],
)
def test_what_whisper_is_asked_in_vain(tmp_path: Path, parameters: dict[str, Any], told: str) -> None:
    engine = start(tiny_media.whisper(tmp_path), SPEECH)
    body = {"inputs": text(tiny_media.recorded(tiny_media.sound(0.5))), "parameters": parameters}
    with pytest.raises(BadRequest, match=told):
        prepared(engine, SPEECH, body)


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (b"esto no es sonido, es texto", UnsupportedMedia, "not a recording"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00" + b"\x00" * 64, UnsupportedMedia, "m4a"),
        (b"\x1a\x45\xdf\xa3" + b"\x00" * 64, UnsupportedMedia, "WebM"),
        (tiny_media.recorded(tiny_media.sound(0.03)), BadRequest, "at least 0.1"),
        (tiny_media.recorded(np.zeros(0, np.float32), kind="WAV"), BadRequest, "without a sample"),
        (tiny_media.recorded(tiny_media.sound(1.0))[:60], LanzaError, "recording"),
        (
            tiny_media.recorded(np.full(16_000, np.nan, np.float32), kind="WAV", subtype="FLOAT"),
            BadRequest,
            "no numbers",
        ),
        (tiny_media.recorded(np.zeros(31 * 60 * 100, np.float32), rate=100), BadRequest, "30 minutes"),
        (tiny_media.encoded(PICTURES[0]), UnsupportedMedia, "not a recording"),
    ],
)
def test_what_is_no_recording_is_refused_with_what_to_send(
    tmp_path: Path, data: bytes, kind: type[LanzaError], told: str
) -> None:
    engine = start(tiny_media.wav2vec2(tmp_path), SPEECH)
    bodies: list[Any] = [data, {"inputs": text(data)}]
    for body in bodies:
        with pytest.raises(kind, match=told) as refused:
            prepared(engine, SPEECH, body)
        assert 400 <= refused.value.status < 500


def test_silence_and_a_loud_noise_have_an_answer(tmp_path: Path) -> None:
    engine = start(tiny_media.wav2vec2(tmp_path), SPEECH)
    for samples in (np.zeros(8000, np.float32), np.full(8000, 1.0, np.float32)):
        assert "text" in ask(engine, SPEECH, tiny_media.recorded(samples))


# Tables


@pytest.mark.parametrize("aggregates", [True, False])
@pytest.mark.parametrize("sequential", [False, True])
def test_cells_are_those_of_the_pipeline(tmp_path: Path, aggregates: bool, sequential: bool) -> None:
    path = tiny_media.tapas(tmp_path, aggregates=aggregates)
    task = "table-question-answering"
    engine = start(path, task)
    reference = pipeline(task, str(path), device="cpu")
    questions = ["¿Cuánto paga la beca de máster?", "¿Y cuándo cierra?", "¿Qué becas hay?"]
    body = {
        "inputs": {"query": questions, "table": TABLE},
        "parameters": {"sequential": sequential, "padding": "longest", "model": "http://aqui"},
    }
    found = ask(engine, task, body)
    expected = reference(table=TABLE, query=questions, sequential=sequential)
    assert any(answer["cells"] for answer in found)
    for answer, other in zip(found, expected, strict=True):
        assert answer["answer"] == other["answer"]
        assert answer["cells"] == other["cells"]
        assert [tuple(place) for place in answer["coordinates"]] == other["coordinates"]
        assert answer.get("aggregator") == other.get("aggregator")
    one = ask(engine, task, {"inputs": {"question": questions[0], "table": TABLE}})
    assert one == ask(engine, task, {"inputs": {"query": questions[:1], "table": TABLE}})[0]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"query": "¿?", "table": {}}, "empty"),
        ({"query": "¿?", "table": {"a": []}}, "empty"),
        ({"query": "", "table": TABLE}, "empty"),
        ({"query": [], "table": TABLE}, "0 questions"),
        ({"table": TABLE}, "missing"),
        ({"query": "a", "question": "b", "table": TABLE}, "the same"),
        ({"query": "a", "table": {"a": ["1"], "b": ["1", "2"]}}, "same number"),
        ({"query": "a", "table": {"a": [["1"]]}}, "table"),
        ({"query": "a", "table": {str(i): ["x"] for i in range(400)}}, "255 columns"),
        ({"query": "a", "table": {str(i): ["x"] for i in range(200)}}, "cannot read this table"),
        ({"query": "palabra " * 400, "table": TABLE}, "cannot read this table"),
    ],
)
def test_questions_and_tables_that_are_none(tmp_path: Path, inputs: dict[str, Any], told: str) -> None:
    engine = start(tiny_media.tapas(tmp_path), "table-question-answering")
    with pytest.raises(BadRequest, match=told):
        prepared(engine, "table-question-answering", {"inputs": inputs})


def test_a_table_that_is_too_long_loses_rows_or_is_refused(tmp_path: Path) -> None:
    engine = start(tiny_media.tapas(tmp_path), "table-question-answering")
    table = {"Beca": [f"beca {i}" for i in range(300)], "Euros": list(range(300))}
    inputs = {"query": "¿Cuál?", "table": table}
    assert "answer" in ask(engine, "table-question-answering", {"inputs": inputs})
    for rows, told in ((300, "255 rows"), (100, "at most 128")):
        cut = {name: cells[:rows] for name, cells in table.items()}
        body = {"inputs": inputs | {"table": cut}, "parameters": {"truncation": False}}
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "table-question-answering", body)


# Pages


def test_words_are_those_of_the_pipeline(tmp_path: Path) -> None:
    task = "document-question-answering"
    path = tiny_media.layoutlm(tmp_path)
    engine = start(path, task)
    reference = pipeline(task, str(path), device="cpu")
    question = "¿Cuándo cierra la beca?"
    pairs = [(word, box) for word, box in WORD_BOXES]
    expected = reference(image=None, question=question, word_boxes=pairs, top_k=1)
    answers = [
        ask(engine, task, {"inputs": {"question": question}, "parameters": {"word_boxes": boxes, "top_k": k}})
        for boxes in (WORD_BOXES, [part for pair in WORD_BOXES for part in pair])
        for k in (1, 4)
    ]
    for answer in answers:
        assert {name: answer[0][name] for name in ("answer", "start", "end")} == {
            name: expected[0][name] for name in ("answer", "start", "end")
        }
        assert answer[0]["score"] == pytest.approx(expected[0]["score"], abs=CLOSE)
    assert [len(answer) for answer in answers] == [1, 4, 1, 4]
    spans = [(entry["start"], entry["end"]) for entry in answers[1]]
    assert len(set(spans)) == 4
    assert answers[1][1]["score"] <= answers[1][0]["score"]


def test_a_long_page_is_read_in_windows(tmp_path: Path) -> None:
    task = "document-question-answering"
    engine = start(tiny_media.layoutlm(tmp_path, positions=64), task)
    boxes = [[f"{word}", box] for _ in range(20) for word, box in WORD_BOXES]
    body = {
        "inputs": {"question": "¿Cuándo?"},
        "parameters": {"word_boxes": boxes, "top_k": 5, "doc_stride": 10, "handle_impossible_answer": True},
    }
    work = prepared(engine, task, body)
    assert len(work.pieces) > 3
    assert max(work.lengths) <= 64
    answers = work.finish(engine.forward(work.pieces, alone=True))
    assert 0 < sum(answer.score for answer in answers) <= 1
    for answer in answers:
        assert answer.answer in ("", " ".join(word for word, _ in boxes[answer.start : answer.end + 1]))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "no OCR on this server"),
        ({"word_boxes": []}, "0 words"),
        ({"word_boxes": ["beca"]}, "no box"),
        ({"word_boxes": [["beca", [1, 2, 3]]]}, "item 0"),
        ({"word_boxes": [["beca", [1, 2, 3, 2000]]]}, "from 0 to 1000"),
        ({"word_boxes": [["beca", [9, 2, 3, 4]]]}, "left before right"),
        ({"word_boxes": [[7, [1, 2, 3, 4]]]}, "item 0"),
        ({"word_boxes": [["\u200b", [1, 2, 3, 4]]]}, "no word"),
        ({"word_boxes": WORD_BOXES, "top_k": 0}, "top_k"),
        ({"word_boxes": WORD_BOXES, "doc_stride": 500}, "doc_stride"),
        ({"word_boxes": WORD_BOXES, "max_seq_len": 3}, "shorten the question"),
    ],
)
def test_pages_that_cannot_be_read(tmp_path: Path, parameters: dict[str, Any], told: str) -> None:
    task = "document-question-answering"
    engine = start(tiny_media.layoutlm(tmp_path), task)
    inputs = {"question": "¿Cuándo?", "image": text(tiny_media.encoded(PICTURES[0]))}
    with pytest.raises(BadRequest, match=told):
        prepared(engine, task, {"inputs": inputs, "parameters": parameters})


def test_donut_looks_and_writes(tmp_path: Path) -> None:
    task = "document-question-answering"
    path = tiny_media.donut(tmp_path)
    engine = start(path, task)
    question = "¿Cuál es el total?"
    answer = ask(
        engine, task, {"inputs": {"question": question, "image": text(tiny_media.encoded(PICTURES[0]))}}
    )
    model = transformers.VisionEncoderDecoderModel.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
    start_ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    ids = model.generate(
        processor(PICTURES[0], return_tensors="pt").pixel_values,
        decoder_input_ids=start_ids,
        max_length=96,
    )
    written = tokenizer.decode(ids[0, start_ids.shape[1] :], skip_special_tokens=True)
    expected = re.sub("<[^>]+>", "", written.split("</s_answer>", maxsplit=1)[0])
    assert answer == [{"answer": expected.strip()}]
    assert answer[0]["answer"]
    for inputs, told in (
        ({"question": question}, "inputs.image"),
        ({"question": "palabra " * 200, "image": text(tiny_media.encoded(PICTURES[0]))}, "shorten"),
        ({"question": " ", "image": text(tiny_media.encoded(PICTURES[0]))}, "empty"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, task, {"inputs": inputs})


# Pictures and questions


def visual_bodies(question: str, picture: Any) -> list[dict[str, Any]]:
    data = text(tiny_media.encoded(picture))
    return [
        {"inputs": data, "parameters": {}, "question": question, "image": data},
        {"inputs": {"question": question, "image": data}},
    ]


def test_vilt_chooses_among_its_answers(tmp_path: Path) -> None:
    task = "visual-question-answering"
    path = tiny_media.vilt(tmp_path)
    engine = start(path, task)
    model = transformers.ViltForQuestionAnswering.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    inputs = tokenizer("¿Qué hay en la plaza?", return_tensors="pt")
    with torch.no_grad():
        scores = model(**inputs, **processor(PICTURES[1], return_tensors="pt")).logits[0].sigmoid()
    best = scores.topk(5)
    for body in visual_bodies("¿Qué hay en la plaza?", PICTURES[1]):
        answer = ask(engine, task, body)
        assert [entry["answer"] for entry in answer] == [
            model.config.id2label[i] for i in best.indices.tolist()
        ]
        assert [entry["score"] for entry in answer] == pytest.approx(best.values.tolist(), abs=CLOSE)


def test_blip_writes_its_answer(tmp_path: Path) -> None:
    task = "visual-question-answering"
    path = tiny_media.blip(tmp_path, answers=True)
    engine = start(path, task)
    model = transformers.BlipForQuestionAnswering.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    inputs = tokenizer("¿Qué hay en la plaza?", return_tensors="pt", return_token_type_ids=False)
    ids = model.generate(
        **inputs,
        pixel_values=processor(PICTURES[2], return_tensors="pt").pixel_values,
        max_new_tokens=63,
    )
    expected = tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    for body in visual_bodies("¿Qué hay en la plaza?", PICTURES[2]):
        assert ask(engine, task, body) == [{"answer": expected, "score": None}]


def test_questions_about_a_picture_that_are_none(tmp_path: Path) -> None:
    engine = start(tiny_media.vilt(tmp_path), "visual-question-answering")
    data = text(tiny_media.encoded(PICTURES[0]))
    for body, told in (
        ({"inputs": data}, "question"),
        ({"inputs": data, "question": ""}, "empty"),
        ({"inputs": data, "question": "palabra " * 60}, "at most 40"),
        ({"inputs": "http://example.org/a.png", "question": "¿?"}, "fetches nothing"),
        ({"inputs": text(b"texto"), "question": "¿?"}, "it is the text"),
        ({"inputs": data, "question": "¿?", "parameters": {"top_k": -1}}, "top_k"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "visual-question-answering", body)


def test_the_limit_on_pixels_is_below_what_pillow_calls_a_bomb() -> None:
    assert (Image.MAX_IMAGE_PIXELS or 0) > MAX_PIXELS
