"""Recordings of every kind that people send, and windows over long ones."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile

from lanza.errors import BadRequest, LanzaError, UnsupportedMedia
from lanza.tasks.audio import decode_audio


def tone(seconds: float = 0.5, rate: int = 16_000) -> Any:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def saved(samples: Any, rate: int = 16_000, **how: Any) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **how)
    return buffer.getvalue()


def loudest_frequency(samples: Any, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "W64", "RF64"])
@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_each_format_and_rate_sounds_the_same(kind: str, rate: int) -> None:
    samples = decode_audio(saved(tone(rate=rate), rate, format=kind), 16_000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(8000, abs=2500)  # MP3 adds its frames
    assert loudest_frequency(samples, 16_000) == pytest.approx(440, abs=4)


def test_opus_is_read() -> None:
    samples = decode_audio(saved(tone(rate=48_000), 48_000, format="OGG", subtype="OPUS"), 16_000)
    assert loudest_frequency(samples, 16_000) == pytest.approx(440, abs=4)


def test_channels_are_averaged() -> None:
    left, right = tone(), np.zeros(8000, np.float32)
    samples = decode_audio(saved(np.stack([left, right], 1), format="WAV", subtype="FLOAT"), 16_000)
    assert samples == pytest.approx(left / 2, abs=1e-6)


def outcome(data: bytes) -> str | int:
    """Whether it was read, or the status of its refusal."""
    try:
        return "finite" if np.isfinite(decode_audio(data, 16_000)).all() else "other"
    except LanzaError as error:
        return error.status


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_that_was_changed_or_cut_is_read_or_refused(kind: str) -> None:
    generator = np.random.default_rng(2)
    data = saved(tone(0.2), format=kind)
    cuts = [data[:end] for end in range(0, len(data), max(1, len(data) // 40))]
    changes = []
    for _ in range(60):
        changed = bytearray(data)
        for place in generator.integers(0, min(len(data), 200), 2):
            changed[place] = generator.integers(0, 256)
        changes.append(bytes(changed))
    for broken in cuts + changes:
        assert outcome(broken) in ("finite", 400, 415)


def test_a_header_that_lies_of_the_length_is_not_believed() -> None:
    data = bytearray(saved(tone(), format="WAV"))
    data[4:8] = data[40:44] = (2**32 - 1).to_bytes(4, "little")
    assert outcome(bytes(data)) in ("finite", 400)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"hola", "not a recording"),
        (b"\x00" * 100, "not a recording"),
        (b"\x00\x00\x00\x18ftypisom", "m4a"),
        (b"\x1aE\xdf\xa3webm", "WebM"),
        (b"\xff\xf1P\x80" + b"\x00" * 50, "AAC"),
        (b"0&\xb2u\x8ef\xcf\x11", "Windows Media"),
    ],
)
def test_what_is_not_read_is_named_with_what_is(data: bytes, told: str) -> None:
    with pytest.raises(UnsupportedMedia, match=told) as refused:
        decode_audio(data, 16_000)
    assert "WAV, FLAC, Ogg" in refused.value.message


def test_formats_that_are_no_recordings_of_people_are_refused() -> None:
    with pytest.raises(LanzaError, match="send WAV"):
        decode_audio(saved(tone(), format="AU"), 16_000)
    with pytest.raises(BadRequest, match="17 channels"):
        decode_audio(saved(np.zeros((100, 17), np.float32), format="WAV"), 16_000)


def test_half_an_hour_is_the_most() -> None:
    hour = np.zeros(3600 * 10, np.float32)
    with pytest.raises(BadRequest, match="30 minutes"):
        decode_audio(saved(hour, 10, format="FLAC"), 16_000)
