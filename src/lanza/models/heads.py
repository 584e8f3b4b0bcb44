"""What a model can be asked to do: from its architecture's name to Hub tasks.

The model held here: the head of an architecture ("ForQuestionAnswering") allows a few tasks, the first
of which is what it does when nobody says otherwise. A model card may choose among the others, so an NLI
classifier whose card says zero-shot-classification is served as that, and a card copied from the base
model ("fill-mask" on a classifier) is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lanza.models.documents import Json

TEXT_ENCODER_TASKS: Final = frozenset(
    {
        "text-classification",
        "token-classification",
        "question-answering",
        "fill-mask",
        "feature-extraction",
        "sentence-similarity",
        "zero-shot-classification",
    }
)
TEXT_GENERATION_TASKS: Final = frozenset({"summarization", "translation", "text-generation"})
IMAGE_TASKS: Final = frozenset(
    {
        "image-classification",
        "image-to-text",
        "object-detection",
        "image-segmentation",
        "document-question-answering",
        "visual-question-answering",
    }
)
AUDIO_TASKS: Final = frozenset({"automatic-speech-recognition", "audio-classification"})
TASKS: Final = (
    TEXT_ENCODER_TASKS | TEXT_GENERATION_TASKS | IMAGE_TASKS | AUDIO_TASKS | {"table-question-answering"}
)

_AUDIO_ENCODERS: Final = frozenset(
    {
        "audio-spectrogram-transformer",
        "data2vec-audio",
        "hubert",
        "sew",
        "sew-d",
        "unispeech",
        "unispeech-sat",
        "wav2vec2",
        "wav2vec2-bert",
        "wav2vec2-conformer",
        "wavlm",
    }
)
_NEEDS_LAYOUT: Final = frozenset({"layoutlmv2", "layoutlmv3", "layoutxlm"})
_OPEN_VOCABULARY: Final = frozenset({"grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2", "owlvit"})

_EMBEDS: Final = ("feature-extraction", "sentence-similarity")
_TRANSCRIBES: Final = ("automatic-speech-recognition",)
_GENERATES: Final = ("text-generation", *_EMBEDS)
_SUMMARIZES: Final = ("summarization", "translation", "text-generation")
_TRANSLATES: Final = ("translation", "summarization", "text-generation")
_DESCRIBES: Final = ("image-to-text", "document-question-answering", "visual-question-answering")

_ENDINGS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("ForSequenceClassification", ("text-classification", "zero-shot-classification")),
    ("ForTokenClassification", ("token-classification",)),
    ("ForQuestionAnswering", ("question-answering",)),
    ("ForMaskedLM", ("fill-mask", *_EMBEDS)),
    ("BertForPreTraining", ("fill-mask", *_EMBEDS)),  # two heads, of which one fills masks
    ("AlbertForPreTraining", ("fill-mask", *_EMBEDS)),
    ("ForCausalLM", _GENERATES),
    ("WithLMHeadModel", ("fill-mask", *_EMBEDS)),  # XLM and Flaubert
    ("LMHeadModel", _GENERATES),
    ("ForImageClassification", ("image-classification",)),
    ("ForImageClassificationWithTeacher", ("image-classification",)),
    ("ForObjectDetection", ("object-detection",)),
    ("ForSegmentation", ("image-segmentation", "object-detection")),
    ("ForSemanticSegmentation", ("image-segmentation",)),
    ("ForInstanceSegmentation", ("image-segmentation",)),
    ("ForUniversalSegmentation", ("image-segmentation",)),
    ("ForCTC", _TRANSCRIBES),
    ("ForSpeechToText", _TRANSCRIBES),
    ("SpeechEncoderDecoderModel", _TRANSCRIBES),
    ("ForAudioClassification", ("audio-classification",)),
    ("VisionEncoderDecoderModel", _DESCRIBES),
    ("EncoderDecoderModel", _SUMMARIZES),
    ("MarianMTModel", _TRANSLATES),
)

_QUESTION_ANSWERING: Final = {
    "blip": "visual-question-answering",
    "layoutlm": "document-question-answering",
    "layoutlmv2": "document-question-answering",
    "layoutlmv3": "document-question-answering",
    "layoutxlm": "document-question-answering",
    "tapas": "table-question-answering",
    "vilt": "visual-question-answering",
}

_CONDITIONAL_GENERATION: Final[Mapping[str, tuple[str, ...]]] = {
    "blip": _DESCRIBES,
    "blip-2": _DESCRIBES,
    "florence2": _DESCRIBES,
    "fsmt": _TRANSLATES,
    "granite_speech": _TRANSCRIBES,
    "instructblip": _DESCRIBES,
    "kosmos-2": _DESCRIBES,
    "m2m_100": _TRANSLATES,
    "marian": _TRANSLATES,
    "mbart": _TRANSLATES,
    "moonshine": _TRANSCRIBES,
    "nllb-moe": _TRANSLATES,
    "paligemma": _DESCRIBES,
    "pix2struct": _DESCRIBES,
    "speech_to_text": _TRANSCRIBES,
    "whisper": (*_TRANSCRIBES, "audio-classification"),
} | dict.fromkeys(("gemma3", "gemma3n", "gemma4"), ("text-generation", "image-to-text"))

_ADAPTER_TASKS: Final = {
    "CAUSAL_LM": "text-generation",
    "FEATURE_EXTRACTION": "feature-extraction",
    "QUESTION_ANS": "question-answering",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
}


def tasks_of(architecture: str | None, config: Json) -> tuple[str, ...]:
    """The tasks that this architecture can do, the usual one first; empty when it is not known."""
    if not architecture:
        return ()
    family = str(config.get("model_type", ""))
    if architecture.endswith("ForConditionalGeneration"):
        return _conditional_generation(family, config)
    for ending, tasks in _ENDINGS:
        if architecture.endswith(ending):
            return _corrected(tasks, family)
    return _bare_model(architecture, family, config)


def task_of_adapter(task_type: object) -> str | None:
    """The task that a PEFT adapter's `task_type` names; None where its base has to say."""
    return _ADAPTER_TASKS.get(task_type) if isinstance(task_type, str) else None


def _corrected(tasks: tuple[str, ...], family: str) -> tuple[str, ...]:
    """The same ending means something else in a few families."""
    if tasks[0] == "question-answering":
        return (_QUESTION_ANSWERING.get(family, "question-answering"),)
    if family == "git":
        return _DESCRIBES
    if "text-classification" in tasks and family in _AUDIO_ENCODERS:
        return ("audio-classification",)
    if tasks[0] in TEXT_ENCODER_TASKS and family in _NEEDS_LAYOUT:
        return ()  # text alone is not enough: they need the boxes and the page
    if "object-detection" in tasks and family in _OPEN_VOCABULARY:
        return ()
    return tasks


def _conditional_generation(family: str, config: Json) -> tuple[str, ...]:
    if known := _CONDITIONAL_GENERATION.get(family):
        return known
    if "vision_config" in config:
        return ("image-to-text",)
    if "audio_config" in config:
        return _TRANSCRIBES
    return _TRANSLATES if _translates_only(config.get("task_specific_params")) else _SUMMARIZES


def _translates_only(parameters: Any) -> bool:
    if not isinstance(parameters, dict) or not parameters:
        return False
    return all(str(name).startswith("translation") for name in parameters)


def _bare_model(architecture: str, family: str, config: Json) -> tuple[str, ...]:
    """XModel: hidden states, which are features of text where the model has a vocabulary of words."""
    is_text = isinstance(config.get("vocab_size"), int) and family not in _AUDIO_ENCODERS
    if not architecture.endswith(("Model", "Encoder")) or not is_text or family in _NEEDS_LAYOUT:
        return ()
    return _EMBEDS
