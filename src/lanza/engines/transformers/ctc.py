"""Speech models that name a sound for each frame (wav2vec 2.0, HuBERT, WavLM, ...): from frames to text.

A recording of up to `WHOLE` seconds is read at once. A longer one is read in windows that overlap by `MARGIN`
on both sides, of which only the middle counts, so that no word is judged without what surrounds it. The kept
frames are joined before they are decoded, and times are counted over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lanza.engines.transformers.media import Piece, make_work, preprocessing
from lanza.errors import BadRequest
from lanza.tasks.audio import Samples
from lanza.tasks.automatic_speech_recognition import (
    Chunk,
    SpeechRecognitionParameters,
    Transcript,
    arguments,
)
from lanza.tasks.work import Work

WHOLE: Final = 60
WINDOW: Final = 30
MARGIN: Final = 5
_COST: Final = 320  # samples to a frame in nearly all of these models

Frames = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Samples `start..end` are read, of which `keep_start..keep_end` count."""

    start: int
    end: int
    keep_start: int
    keep_end: int


class CtcReader:
    """Prepares windows and joins their frames."""

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        self._model, self._extractor, self._tokenizer = model, extractor, tokenizer
        # Tokenizers of the wav2vec 2.0 kind tell where each letter lies.
        self._has_times = hasattr(tokenizer, "word_delimiter_token")
        self._samples_per_frame: int | None = getattr(model.config, "inputs_to_logits_ratio", None)

    def prepare(self, samples: Samples, parameters: SpeechRecognitionParameters) -> Work:
        if arguments(parameters):
            raise BadRequest("this model generates nothing: leave `generation_parameters` out.")
        unit = self._unit(parameters.return_timestamps)
        cuts = windows(
            len(samples), rate=self._extractor.sampling_rate, step=self._samples_per_frame or _COST
        )
        works = [self._piece(samples, cut) for cut in cuts]
        return Work(
            pieces=[piece for work in works for piece in work.pieces],
            lengths=[length for work in works for length in work.lengths],
            finish=lambda outputs: self._decode(np.concatenate(outputs), len(samples), unit),
            group=works[0].group,
        )

    def run(self, batch: dict[str, Any], pieces: Sequence[Piece]) -> Sequence[Any]:
        frames = self._model(**batch).logits.argmax(dim=-1).cpu().numpy()
        return [piece.read(row) for piece, row in zip(pieces, frames, strict=True)]

    def _piece(self, samples: Samples, window: Window) -> Work:
        rate = self._extractor.sampling_rate
        with preprocessing("this recording"):
            tensors = dict(
                self._extractor(samples[window.start : window.end], sampling_rate=rate, return_tensors="pt")
            )
        cost = (window.end - window.start) // _COST
        return make_work(tensors, lambda row: self._kept(row, window), cost=cost)

    def _kept(self, row: Frames, window: Window) -> Frames:
        """The frames of the window that count."""
        step = self._samples_per_frame or (window.end - window.start) / len(row)
        first = round((window.keep_start - window.start) / step)
        if window.keep_end == window.end:
            return row[first:]
        return row[first : round((window.keep_end - window.start) / step)]

    def _unit(self, wanted: bool | str | None) -> str | None:
        if not wanted:
            return None
        if not self._has_times:
            raise BadRequest("this model's tokenizer cannot tell times: leave `return_timestamps` out.")
        return "char" if wanted == "char" else "word"

    def _decode(self, frames: Frames, samples: int, unit: str | None) -> Transcript:
        if unit is None:
            return Transcript(text=self._tokenizer.decode(frames))
        decoded = self._tokenizer.decode(frames, **{f"output_{unit}_offsets": True})
        seconds = self._frame_seconds(len(frames), samples)
        return Transcript(
            text=decoded["text"],
            chunks=[
                Chunk(
                    text=offset[unit],
                    timestamp=(
                        round(float(offset["start_offset"]) * seconds, 2),
                        round(float(offset["end_offset"]) * seconds, 2),
                    ),
                )
                for offset in decoded[f"{unit}_offsets"]
            ],
        )

    def _frame_seconds(self, frames: int, samples: int) -> float:
        step = self._samples_per_frame or samples / max(frames, 1)
        return float(step / self._extractor.sampling_rate)


def windows(samples: int, *, rate: int, step: int) -> list[Window]:
    """The windows over a recording; their edges lie on frames of `step` samples."""
    if samples <= WHOLE * rate:
        return [Window(start=0, end=samples, keep_start=0, keep_end=samples)]
    margin, width = MARGIN * rate // step * step, WINDOW * rate // step * step
    cuts: list[Window] = []
    keep = 0
    while keep < samples:
        start = max(0, keep - margin)
        end = min(start + width, samples)
        # What would be left over joins this window: too few samples make no frame.
        end = samples if samples - end < margin else end
        keep_end = samples if end == samples else end - margin
        cuts.append(Window(start=start, end=end, keep_start=keep, keep_end=keep_end))
        keep = keep_end
    return cuts
