"""Whisper: speech to text by writing, in windows of 30 seconds, with times of phrases or words.

Up to one window, clips share a batch. A longer recording runs by itself: where each window starts depends on
the times that the model wrote in the one before. Times of words come from the model's attention, and need the
list of heads that the folder's generation_config.json has.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lanza.engines.transformers.media import Piece, make_work, preprocessing
from lanza.engines.transformers.writing import bounded
from lanza.errors import BadRequest
from lanza.tasks.audio import Samples
from lanza.tasks.automatic_speech_recognition import (
    Chunk,
    SpeechRecognitionParameters,
    Timestamps,
    Transcript,
    arguments,
)
from lanza.tasks.work import Work

_START: Final = 4
"""Positions taken before the first written token: start, language, task, no timestamps."""
_LONGEST_CHARACTER: Final = 4  # tokens, for UTF-8 has as many bytes
_UNSPACED: Final = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u3040", "\u30ff"), ("\u3400", "\u9fff"))
"""Thai and Lao, Burmese, kana, ideographs: written with no blanks, so each character is a word."""


class WhisperReader:
    """Prepares clips, and makes transcripts of what is generated."""

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        self._model, self._extractor, self._tokenizer = model, extractor, tokenizer

    def prepare(self, samples: Samples, parameters: SpeechRecognitionParameters) -> Work:
        long = len(samples) > self._extractor.n_samples
        asked = self._arguments(parameters, long=long)
        rate = self._extractor.sampling_rate
        how = {"truncation": False, "padding": "longest"} if long else {}
        with preprocessing("this recording"):
            tensors = dict(
                self._extractor(
                    samples, sampling_rate=rate, return_tensors="pt", return_attention_mask=True, **how
                )
            )
        seconds = len(samples) / rate
        frames = tensors["input_features"].shape[-1] // 2
        return make_work(
            tensors,
            lambda output: self._transcript(output, parameters.return_timestamps, seconds),
            cost=frames,
            arguments=asked,
            apart=id(tensors) if long else None,
        )

    def run(self, batch: dict[str, Any], pieces: Sequence[Piece]) -> Sequence[Any]:
        with warnings.catch_warnings():
            # Finding the times of a single word, transformers takes the spread of one number.
            warnings.filterwarnings("ignore", message=r"std\(\): degrees of freedom", category=UserWarning)
            made = self._model.generate(**batch, **pieces[0].arguments)
        if isinstance(made, Mapping) and "segments" in made:
            return [piece.read(segments) for piece, segments in zip(pieces, made["segments"], strict=True)]
        return [piece.read(ids) for piece, ids in zip(pieces, made, strict=True)]

    def _arguments(self, parameters: SpeechRecognitionParameters, *, long: bool) -> dict[str, Any]:
        positions = self._model.config.max_target_positions
        asked = bounded(
            arguments(parameters), self._model, positions=positions, taken=_START, default=positions
        )
        self._check_language(asked)
        return asked | self._times(parameters.return_timestamps, long=long)

    def _times(self, wanted: Timestamps | None, *, long: bool) -> dict[str, Any]:
        config = self._model.generation_config
        if wanted == "char":
            raise BadRequest('this model tells times of words, not characters: send "word" or true.')
        if (wanted or long) and not hasattr(config, "no_timestamps_token_id"):
            what = "recordings over 30 seconds" if long else "`return_timestamps`"
            raise BadRequest(f"this model writes no times, which {what} would need.")
        if wanted == "word":
            if not getattr(config, "alignment_heads", None):
                raise BadRequest("this model cannot tell times of words: send `return_timestamps` true.")
            return {"return_timestamps": True, "return_segments": True, "return_token_timestamps": True}
        if wanted:
            return {"return_timestamps": True, "return_segments": True}
        return {"return_timestamps": long}

    def _check_language(self, asked: Mapping[str, Any]) -> None:
        config = self._model.generation_config
        language, task = asked.get("language"), asked.get("task")
        if (language or task) and not getattr(config, "is_multilingual", False):
            raise BadRequest("this model knows one language: leave `language` and `task` out.")
        if language is not None and _code(language) not in _codes(config):
            raise BadRequest(
                f"this model knows no language {language!r}: send one of {', '.join(sorted(_codes(config)))}."
            )
        if task is not None and task not in getattr(config, "task_to_id", {}):
            raise BadRequest(f"this model cannot {task}: leave `task` out.")

    def _transcript(self, output: Any, times: Timestamps | None, seconds: float) -> Transcript:
        if not times:
            return Transcript(text=self._text(output))
        chunks = (
            [word for segment in output for word in self._words(segment)]
            if times == "word"
            else [
                Chunk(text=self._text(segment["tokens"]), timestamp=_span(segment["start"], segment["end"]))
                for segment in output
            ]
        )
        return Transcript(
            text="".join(self._text(segment["tokens"]) for segment in output),
            chunks=[_within(chunk, seconds) for chunk in chunks if chunk.text],
        )

    def _text(self, ids: Any) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _words(self, segment: Mapping[str, Any]) -> list[Chunk]:
        """The words of a segment. A token's time is its end; it begins where the one before it ended."""
        words: list[Chunk] = []
        pending: list[int] = []
        start = before = float(segment["start"])
        rows = zip(segment["tokens"].tolist(), segment["token_timestamps"].tolist(), strict=True)
        for token, end in rows:
            if not pending:
                start = before
            pending.append(token)
            before = end
            text = self._text(pending)
            if text.endswith("\ufffd") and len(pending) < _LONGEST_CHARACTER:
                continue  # a character that goes on in the next token
            pending = []
            if not text:
                continue
            if words and not _begins_word(text):
                text, start = words[-1].text + text, words.pop().timestamp[0]
            words.append(Chunk(text=text, timestamp=_span(start, end)))
        return words


def _begins_word(text: str) -> bool:
    return text[0].isspace() or any(low <= text[0] <= high for low, high in _UNSPACED)


def _code(language: str) -> str:
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    name = language.lower().removeprefix("<|").removesuffix("|>")
    return str(TO_LANGUAGE_CODE.get(name, name))


def _codes(config: Any) -> set[str]:
    return {token.removeprefix("<|").removesuffix("|>") for token in getattr(config, "lang_to_id", {})}


def _span(start: Any, end: Any) -> tuple[float, float]:
    return round(float(start), 2), round(float(end), 2)


def _within(chunk: Chunk, seconds: float) -> Chunk:
    """A chunk that ends with the recording: the model sees silence up to its window's end."""
    start, end = chunk.timestamp
    assert end is not None
    last = round(seconds, 2)
    return Chunk(text=chunk.text, timestamp=(min(start, last), min(end, last)))
