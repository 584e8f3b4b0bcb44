"""Recordings through transformers: what they sound like, and what is said in them.

The model held here: samples at the model's own rate become the tensors that the folder's feature extractor
makes. How speech becomes text depends on the family: frame by frame (`ctc.py`), Whisper (`whisper.py`), or
another model that writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from lanza.engines.base import EngineOptions
from lanza.engines.transformers.ctc import CtcReader
from lanza.engines.transformers.loading import load_model, load_tokenizer
from lanza.engines.transformers.media import (
    MediaEngine,
    Piece,
    labels_of,
    load_feature_extractor,
    make_work,
    patches,
    preprocessing,
)
from lanza.engines.transformers.whisper import WhisperReader
from lanza.engines.transformers.writing import bounded, decoder_positions
from lanza.errors import BadRequest
from lanza.tasks.audio import Samples, read_audio
from lanza.tasks.audio_classification import AudioClassificationBody, AudioClassificationParameters
from lanza.tasks.automatic_speech_recognition import (
    SpeechRecognitionBody,
    SpeechRecognitionParameters,
    Transcript,
    arguments,
)
from lanza.tasks.image_classification import answer
from lanza.tasks.text_classification import check_top_k
from lanza.tasks.work import Work

SHORTEST: Final = 0.1
"""Seconds: less is not one frame for some of these models."""
LONGEST_CLASSIFIED: Final = 300
LONGEST_WRITTEN: Final = 60
"""Seconds that are read in one piece, by a classifier and by a model that writes (Whisper has windows)."""


class AudioEngine(MediaEngine):
    """Audio classification."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options, load_model(options, "AutoModelForAudioClassification"))
        self._extractor = load_feature_extractor(options)
        self._labels = labels_of(self.model.config)
        self._config = self.model.config.to_dict()

    def prepare(self, body: AudioClassificationBody) -> Work:
        parameters = body.parameters or AudioClassificationParameters()
        check_top_k(parameters.top_k)
        rate = self._extractor.sampling_rate
        samples = _read(body.inputs, rate, longest=LONGEST_CLASSIFIED)
        with preprocessing("this recording"):
            tensors = dict(self._extractor(samples, sampling_rate=rate, return_tensors="pt"))

        def read(outputs: Any) -> Any:
            return answer(
                outputs.logits[0].numpy(),
                self._labels,
                self._config,
                function_to_apply=parameters.function_to_apply,
                top_k=parameters.top_k,
            )

        return make_work(tensors, read, cost=patches(tensors))


class Reader(Protocol):
    """How one family of models turns speech into text."""

    def prepare(self, samples: Samples, parameters: SpeechRecognitionParameters) -> Work: ...

    def run(self, batch: dict[str, Any], pieces: Sequence[Piece]) -> Sequence[Any]: ...


class SpeechEngine(MediaEngine):
    """Automatic speech recognition."""

    def __init__(self, options: EngineOptions) -> None:
        ctc = (options.facts.architecture or "").endswith("ForCTC")
        model = load_model(options, "AutoModelForCTC" if ctc else "AutoModelForSpeechSeq2Seq")
        super().__init__(options, model)
        self._extractor = load_feature_extractor(options)
        tokenizer = load_tokenizer(options)
        self._reader: Reader
        if ctc:
            self._reader = CtcReader(model, self._extractor, tokenizer)
        elif options.facts.model_type == "whisper":
            self._reader = WhisperReader(model, self._extractor, tokenizer)
        else:
            self._reader = SequenceReader(model, self._extractor, tokenizer)

    def prepare(self, body: SpeechRecognitionBody) -> Work:
        samples = _read(body.inputs, self._extractor.sampling_rate)
        return self._reader.prepare(samples, body.parameters or SpeechRecognitionParameters())

    def run(self, pieces: Sequence[Piece]) -> Sequence[Any]:
        return self._reader.run(self.gather(pieces), pieces)


class SequenceReader:
    """Models that hear a recording in one piece and write its text: Speech2Text, Moonshine and others."""

    def __init__(self, model: Any, extractor: Any, tokenizer: Any) -> None:
        self._model, self._extractor, self._tokenizer = model, extractor, tokenizer
        self._positions = decoder_positions(model)

    def prepare(self, samples: Samples, parameters: SpeechRecognitionParameters) -> Work:
        if parameters.return_timestamps:
            raise BadRequest("this model cannot tell times: leave `return_timestamps` out.")
        asked = bounded(arguments(parameters), self._model, positions=self._positions, default=256)
        if {"language", "task"} & asked.keys():
            raise BadRequest("this model takes no `language` or `task`: leave them out.")
        rate = self._extractor.sampling_rate
        _check_longest(samples, rate, LONGEST_WRITTEN)
        with preprocessing("this recording"):
            tensors = dict(self._extractor(samples, sampling_rate=rate, return_tensors="pt"))
        return make_work(tensors, lambda text: Transcript(text=text), cost=patches(tensors), arguments=asked)

    def run(self, batch: dict[str, Any], pieces: Sequence[Piece]) -> Sequence[Any]:
        ids = self._model.generate(**batch, **pieces[0].arguments)
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [piece.read(text) for piece, text in zip(pieces, texts, strict=True)]


def _read(upload: Any, rate: int, *, longest: int | None = None) -> Samples:
    samples = read_audio(upload, rate)
    if len(samples) < SHORTEST * rate:
        raise BadRequest(
            f"`inputs` lasts {len(samples) / rate:.3f} seconds: send at least {SHORTEST} seconds of sound."
        )
    if longest is not None:
        _check_longest(samples, rate, longest)
    return samples


def _check_longest(samples: Samples, rate: int, longest: int) -> None:
    if len(samples) > longest * rate:
        raise BadRequest(
            f"`inputs` lasts {len(samples) / rate:.1f} seconds and this model reads at most {longest}: "
            "send its parts one by one."
        )
