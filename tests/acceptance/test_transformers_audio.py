"""Recordings through torch, against a pipeline or the same models run by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer, pipeline

import tiny_media
from engine_calls import (
    PICTURES,
    ask,
    ask_together,
    assert_same_scores,
    prepared,
    start,
    text,
)
from lanza.engines.transformers.ctc import WHOLE
from lanza.errors import BadRequest, LanzaError, UnsupportedMedia
from lanza.protocols.huggingface import encode

SPEECH = "automatic-speech-recognition"
LONG = 95.0


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


def voices(path: Path) -> Path:
    return tiny_media.wav2vec2(path, labels=("voz", "música", "ruido"))


@pytest.mark.parametrize("build", [voices, tiny_media.spectrogram])
def test_a_recording_is_classified_as_by_the_pipeline(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    path = build(tmp_path)
    engine = start(path, "audio-classification")
    reference = pipeline("audio-classification", str(path), device="cpu")
    clips = [tiny_media.sound(1.0), tiny_media.sound(1.0, seed=3)]
    recordings: list[Any] = [tiny_media.recorded(clip, kind="WAV", subtype="FLOAT") for clip in clips]
    answers = ask_together(engine, "audio-classification", recordings)
    for clip, answer in zip(clips, answers, strict=True):
        assert_same_scores(answer, reference(clip, top_k=5))
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


def test_a_model_that_hears_in_one_piece_writes_what_it_generates(tmp_path: Path) -> None:
    path = tiny_media.moonshine(tmp_path)
    engine = start(path, SPEECH)
    samples = _as_sent(tiny_media.sound(1.1))
    model = transformers.MoonshineForConditionalGeneration.from_pretrained(path).eval()
    inputs = transformers.Wav2Vec2FeatureExtractor.from_pretrained(path)(
        samples, sampling_rate=tiny_media.RATE, return_tensors="pt"
    )
    ids = model.generate(**inputs, max_new_tokens=9)
    expected = AutoTokenizer.from_pretrained(path).decode(ids[0], skip_special_tokens=True)
    data = text(tiny_media.recorded(samples))
    body = {"inputs": data, "parameters": {"generate_kwargs": {"max_new_tokens": 9}}}
    assert ask(engine, SPEECH, body) == {"text": expected}
    for parameters, told in (
        ({"return_timestamps": True}, "cannot tell times"),
        ({"generate_kwargs": {"language": "es"}}, "takes no `language`"),
        ({"generate_kwargs": {"max_new_tokens": 64}}, "at most 63"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, SPEECH, {"inputs": data, "parameters": parameters})
    with pytest.raises(BadRequest, match="at most 60"):
        prepared(engine, SPEECH, tiny_media.recorded(tiny_media.sound(61)))


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
