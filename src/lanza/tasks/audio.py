"""Recordings as requests bring them: from the bytes of a file to one channel of float32 samples.

libsndfile reads the formats and says the length before a sample is decoded; soxr changes the rate. What they
cannot read (m4a, webm) is refused by name: no outside program is run. Both are imported with the first
recording.
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lanza.errors import BadRequest, UnsupportedMedia
from lanza.tasks.upload import read_upload

Samples = npt.NDArray[np.float32]

MAX_SECONDS: Final = 30 * 60
MAX_CHANNELS: Final = 16
MAX_RATE: Final = 768_000
NAMES: Final = "WAV, FLAC, Ogg (Vorbis or Opus) or MP3"
_FORMATS: Final = frozenset({"AIFF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
_BLOCK: Final = 1 << 20


class _Bytes(io.BytesIO):
    """A file that can be sought before its start, as damaged headers ask for.

    libsndfile seeks through a callback, out of which an exception would only be printed.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell()}.get(whence, len(self.getbuffer()))
        return super().seek(max(0, origin + offset))


def read_audio(value: Any, rate: int, *, what: str = "inputs") -> Samples:
    """The recording of an upload, at `rate` samples per second."""
    return decode_audio(read_upload(value, kind="a recording", what=what), rate, what=what)


def decode_audio(data: bytes, rate: int, *, what: str = "inputs") -> Samples:
    """Bytes of a file as one channel at `rate`. BadRequest or UnsupportedMedia when they are no recording."""
    import soundfile

    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            if file.format not in _FORMATS:
                raise UnsupportedMedia(f"`{what}` is {file.format} audio: send {NAMES}.")
            _check(file.frames, file.samplerate, file.channels, what=what)
            samples, found = _mono(file, what=what), file.samplerate
    except soundfile.LibsndfileError as error:
        raise _refusal(data, error, what=what) from error
    if not len(samples):
        raise BadRequest(f"`{what}` is a recording without a sample: send some sound.")
    if not np.isfinite(samples).all():
        raise BadRequest(f"`{what}` has samples that are no numbers: send the recording again.")
    return _resample(samples, found, rate)


def _check(frames: int, rate: int, channels: int, *, what: str) -> None:
    if not (0 < rate <= MAX_RATE and 0 < channels <= MAX_CHANNELS):
        raise BadRequest(
            f"`{what}` has {channels} channels at {rate} Hz, which is no recording that is served."
        )
    if frames > MAX_SECONDS * rate and frames < 1 << 62:  # beyond it: a stream that does not say its length
        raise _too_long(what)


def _mono(file: Any, *, what: str) -> Samples:
    """All samples as one channel, read block by block: a header may lie about their number."""
    blocks: list[Samples] = []
    left = MAX_SECONDS * file.samplerate
    while len(block := file.read(_BLOCK // file.channels, dtype="float32", always_2d=True)):
        left -= len(block)
        if left < 0:
            raise _too_long(what)
        blocks.append(block.mean(axis=1, dtype=np.float32))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _too_long(what: str) -> BadRequest:
    return BadRequest(
        f"`{what}` is longer than {MAX_SECONDS // 60} minutes: cut it, and send its parts one by one."
    )


def _resample(samples: Samples, found: int, rate: int) -> Samples:
    if found == rate:
        return samples
    import soxr

    resampled = soxr.resample(samples, found, rate)
    return np.ascontiguousarray(resampled, dtype=np.float32)


def _refusal(data: bytes, error: Exception, *, what: str) -> BadRequest:
    name = _other_format(data)
    if name:
        return UnsupportedMedia(f"`{what}` is {name}, which is not read here: send {NAMES}.")
    if data[:4] in (b"RIFF", b"fLaC", b"OggS", b"RF64") or data[:3] == b"ID3":
        return BadRequest(f"`{what}` is a damaged recording ({error}): send the whole file.")
    return UnsupportedMedia(f"`{what}` is not a recording ({error}): send {NAMES}.")


def _other_format(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return "MP4 audio (m4a)"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "WebM or Matroska audio"
    if data[:4] == b"\x30\x26\xb2\x75":
        return "Windows Media audio"
    return "AAC audio" if data[:2] in (b"\xff\xf1", b"\xff\xf9") else None
