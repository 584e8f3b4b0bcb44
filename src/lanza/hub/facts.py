"""What a repository is, by what its files say: library, task, tags, and what clients show of it.

A pure function of `Evidence`. The card has the first word on library and task; files have it where the card
is silent. Tags are those of Hugging Face's Hub, so that filters written for it find the same here: `es`,
`license:mit`, `dataset:squad_es`, `base_model:adapter:google/vit`, `transformers`, `safetensors`. Those of
datasets have prefixes for all that is no free tag: `language:es`, `task_categories:question-answering`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lanza.hub.cards import Card, languages, text_of, texts_of
from lanza.hub.evidence import Evidence
from lanza.hub.names import Kind
from lanza.models.heads import task_of_adapter, tasks_of

FILE_TAGS: Final[Mapping[str, re.Pattern[str]]] = {
    "pytorch": re.compile(r"pytorch_model.*\.bin"),
    "tf": re.compile(r"tf_model.*\.h5"),
    "jax": re.compile(r"flax_model.*\.msgpack"),
    "safetensors": re.compile(r".+\.safetensors"),
    "onnx": re.compile(r".+\.onnx|onnx/"),
    "openvino": re.compile(r"openvino_.*model\.xml|openvino/"),
    "gguf": re.compile(r".+\.gguf"),
    "tensorboard": re.compile(r"runs/|events\.out\.tfevents.*"),
}
DATASET_KEYS: Final = (
    "task_categories",
    "task_ids",
    "annotations_creators",
    "language_creators",
    "multilinguality",
    "size_categories",
    "source_datasets",
)
MOST_TAGS: Final = 1000

_ARXIV: Final = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})|\barxiv:(\d{4}\.\d{4,5})", re.IGNORECASE)
_RELATIONS: Final = frozenset({"adapter", "finetune", "merge", "quantized"})
_HEAD: Final = re.compile(r"For[A-Z]\w*$")
_SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "mask_token", "pad_token", "unk_token", "chat_template")
_SHOWN_CONFIG: Final = ("architectures", "model_type", "auto_map", "quantization_config", "custom_pipelines")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`details` are further values by the names that clients know them by: `config`, `sdk`, ..."""

    library: str | None = None
    pipeline_tag: str | None = None
    tags: tuple[str, ...] = ()
    card: Mapping[str, Any] | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def facts_of(kind: Kind, found: Evidence) -> Facts:
    """All that is told of a repository of this kind with these files."""
    card = found.card
    data = card.data or None
    if kind is Kind.DATASET:
        return Facts(tags=_tidy(_dataset_tags(card)), card=data)
    if kind is Kind.SPACE:
        details = {key: texts_of(card.data, key) for key in ("models", "datasets")}
        sdk = text_of(card.data, "sdk")
        return Facts(
            tags=_tidy(_space_tags(card, sdk)), card=data, details=details | ({"sdk": sdk} if sdk else {})
        )
    library, task = library_of(found), task_of(found)
    return Facts(
        library=library,
        pipeline_tag=task,
        tags=_tidy(_model_tags(found, library, task)),
        card=data,
        parameters=found.parameters,
        details=_model_details(found, task),
    )


def library_of(found: Evidence) -> str | None:
    """What loads the model: as the card says, else what wrote its files."""
    if named := text_of(found.card.data, "library_name"):
        return named
    names, config = found.names, found.config
    signs = (
        ("peft", "adapter_config.json" in names),
        ("diffusers", "_diffusers_version" in found.pipeline),
        ("sentence-transformers", "config_sentence_transformers.json" in names or "modules.json" in names),
        (
            "transformers",
            any(key in config for key in ("model_type", "architectures", "transformers_version")),
        ),
        ("gguf", any(name.endswith(".gguf") for name in names)),
    )
    return next((library for library, is_so in signs if is_so), None)


def task_of(found: Evidence) -> str | None:
    """What the model is for: as the card says, else what its architecture does."""
    if named := text_of(found.card.data, "pipeline_tag"):
        return named
    if task := task_of_adapter(found.adapter.get("task_type")):
        return task
    if library_of(found) == "sentence-transformers":
        return "sentence-similarity"
    if str(found.pipeline.get("_class_name", "")).startswith(("StableDiffusion", "Flux")):
        return "text-to-image"
    return next(iter(tasks_of(architecture_of(found.config), found.config)), None)


def architecture_of(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def _model_tags(found: Evidence, library: str | None, task: str | None) -> Iterator[str | None]:
    data = found.card.data
    yield library
    yield from file_tags(found.names)
    model_type = found.config.get("model_type")
    yield model_type if isinstance(model_type, str) else None
    yield task
    yield from texts_of(data, "tags")
    if "auto_map" in found.config:
        yield "custom_code"
    if found.tokenizer.get("chat_template") or "chat_template.jinja" in found.names:
        yield "conversational"
    yield from languages(data)
    yield from (f"dataset:{name}" for name in texts_of(data, "datasets"))
    yield from _base_models(found)
    yield from _papers(found.card)
    yield from (f"license:{name}" for name in texts_of(data, "license"))


def file_tags(names: Iterable[str]) -> Iterator[str]:
    """The formats that a model is there in."""
    known = list(names)
    for tag, pattern in FILE_TAGS.items():
        if any(pattern.fullmatch(name) for name in known):
            yield tag


def _base_models(found: Evidence) -> Iterator[str]:
    bases = texts_of(found.card.data, "base_model")
    adapted = text_of(found.adapter, "base_model_name_or_path")
    if not bases and adapted and not adapted.startswith((".", "/")):
        bases = [adapted]
    relation = text_of(found.card.data, "base_model_relation")
    if relation not in _RELATIONS:
        relation = "adapter" if found.adapter else "merge" if len(bases) > 1 else "finetune"
    for base in bases:
        yield f"base_model:{base}"
        yield f"base_model:{relation}:{base}"


def _papers(card: Card) -> Iterator[str]:
    for match in _ARXIV.finditer(card.text):
        yield f"arxiv:{match[1] or match[2]}"


def _dataset_tags(card: Card) -> Iterator[str]:
    for key in DATASET_KEYS:
        yield from (f"{key}:{text}" for text in texts_of(card.data, key))
    yield from (f"language:{text}" for text in languages(card.data))
    yield from (f"license:{text}" for text in texts_of(card.data, "license"))
    yield from _papers(card)
    yield from texts_of(card.data, "tags")


def _space_tags(card: Card, sdk: str | None) -> Iterator[str | None]:
    yield sdk
    yield from texts_of(card.data, "tags")
    yield from (f"license:{text}" for text in texts_of(card.data, "license"))
    yield from (f"model:{name}" for name in texts_of(card.data, "models"))
    yield from (f"dataset:{name}" for name in texts_of(card.data, "datasets"))


def _tidy(tags: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag[:512] for tag in tags if tag))[:MOST_TAGS]


def _model_details(found: Evidence, task: str | None) -> dict[str, Any]:
    data = found.card.data
    details = {
        "config": _shown_config(found),
        "transformersInfo": _transformers_info(found, task),
        "mask_token": _token(found.tokenizer.get("mask_token")) if task == "fill-mask" else None,
        "widgetData": data.get("widget"),
        "model-index": data.get("model-index"),
    }
    if found.parameters:
        details["safetensors"] = {
            "parameters": dict(found.parameters),
            "total": sum(found.parameters.values()),
        }
    return {name: value for name, value in details.items() if value}


def _shown_config(found: Evidence) -> dict[str, Any]:
    """The part of the configurations that the Hub tells; the rest is in the files."""
    shown = {key: found.config[key] for key in _SHOWN_CONFIG if key in found.config}
    if special := {key: found.tokenizer[key] for key in _SPECIAL_TOKENS if found.tokenizer.get(key)}:
        shown["tokenizer_config"] = special
    if found.adapter:
        keys = ("base_model_name_or_path", "task_type", "peft_type")
        shown["peft"] = {key: found.adapter[key] for key in keys if found.adapter.get(key)}
    if "_class_name" in found.pipeline:
        shown["diffusers"] = {"_class_name": found.pipeline["_class_name"]}
    return shown


def _transformers_info(found: Evidence, task: str | None) -> dict[str, Any] | None:
    """Which of transformers' Auto classes loads the model."""
    architecture = architecture_of(found.config)
    if architecture is None:
        return None
    info: dict[str, Any] = {"auto_model": _auto_model(architecture, "vision_config" in found.config)}
    if task:
        info["pipeline_tag"] = task
    if "processor_config.json" in found.names or "preprocessor_config.json" in found.names:
        info["processor"] = "AutoProcessor"
    elif "tokenizer_config.json" in found.names or "tokenizer.json" in found.names:
        info["processor"] = "AutoTokenizer"
    return info


def _auto_model(architecture: str, sees: bool) -> str:
    head = _HEAD.search(architecture)
    if head is None:
        return "AutoModelForCausalLM" if architecture.endswith("LMHeadModel") else "AutoModel"
    if head[0] == "ForConditionalGeneration":
        return "AutoModelForImageTextToText" if sees else "AutoModelForSeq2SeqLM"
    return f"AutoModel{head[0]}"


def _token(value: Any) -> str | None:
    """A special token, plain or as the object that older tokenizers write."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
