"""The transformers engine: any model that transformers can load, through torch.

One class for each way of working, each in a module that is imported when a model asks for it: what loads
pictures never imports what generates text.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from lanza.engines.base import Engine, EngineOptions
from lanza.errors import MissingExtra, ModelError

ENGINES: Final = {
    "audio-classification": "audio:AudioEngine",
    "automatic-speech-recognition": "audio:SpeechEngine",
    "document-question-answering": "documents:DocumentEngine",
    "feature-extraction": "encoder:EncoderEngine",
    "fill-mask": "encoder:EncoderEngine",
    "image-classification": "vision:VisionEngine",
    "image-segmentation": "vision:VisionEngine",
    "image-to-text": "vision:ImageToTextEngine",
    "object-detection": "vision:VisionEngine",
    "question-answering": "encoder:EncoderEngine",
    "sentence-similarity": "encoder:EncoderEngine",
    "summarization": "seq2seq:Seq2SeqEngine",
    "table-question-answering": "documents:TableEngine",
    "text-classification": "encoder:EncoderEngine",
    "text-generation": "generation:CausalLM",
    "token-classification": "encoder:EncoderEngine",
    "translation": "seq2seq:Seq2SeqEngine",
    "visual-question-answering": "documents:VisualEngine",
    "zero-shot-classification": "encoder:EncoderEngine",
}
"""Task to `module:Class` in this package; the class takes `EngineOptions` and is a loaded engine."""


def load(options: EngineOptions) -> Engine:
    """The engine of this package for the task. ModelError when there is none, or the folder does not load."""
    task = options.task.name if options.task else options.facts.task
    if task not in ENGINES:
        raise ModelError(f"the transformers engine does not serve {task}: choose another --task.")
    module, _, name = ENGINES[task].partition(":")
    try:
        engine: Engine = getattr(import_module(f"{__name__}.{module}"), name)(options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lanza"):
            raise
        raise MissingExtra(
            f"Serving this model needs {error.name}: pip install 'lanza[transformers]'."
        ) from error
    return engine
