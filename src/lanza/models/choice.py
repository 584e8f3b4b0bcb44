"""Which engine serves a model, and why: a pure function of the facts and of what is installed.

The model held here: a handler.py speaks for itself; a text encoder goes to ONNX when its export can be
had and trusted; everything else that transformers can load goes to transformers. An export that must
first be made is only promised here (`needs_conversion`): converting checks it against the original.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from lanza.errors import MissingExtra, ModelError, UnsafeModel
from lanza.models.facts import FolderKind, ModelFacts
from lanza.models.heads import AUDIO_TASKS, IMAGE_TASKS, TEXT_ENCODER_TASKS
from lanza.models.native import knows_family

ENGINES: Final = ("onnx", "transformers", "handler")
CONVERSION_MODULES: Final = frozenset({"torch", "transformers", "onnx", "onnxscript"})
TRANSFORMERS_MODULES: Final = frozenset({"torch", "transformers"})
OPTIONAL_MODULES: Final = CONVERSION_MODULES | {"peft", "PIL", "soundfile"}

# Longformer's export was measured to answer other lengths wrongly. The others build their attention in
# the same ways (blocks, buckets, hashes, memories that depend on the length), and are not tried.
NOT_EXPORTABLE: Final = frozenset(
    {
        "big_bird",
        "bigbird_pegasus",
        "funnel",
        "led",
        "longformer",
        "longt5",
        "reformer",
        "xlnet",
    }
)
# Their tokenizers are Python code with no tokenizer.json form.
PYTHON_TOKENIZERS: Final = frozenset(
    {
        "BartphoTokenizer",
        "BertJapaneseTokenizer",
        "BertweetTokenizer",
        "ByT5Tokenizer",
        "CanineTokenizer",
        "CpmTokenizer",
        "EsmTokenizer",
        "FlaubertTokenizer",
        "PerceiverTokenizer",
        "PhobertTokenizer",
        "ProphetNetTokenizer",
        "RoCBertTokenizer",
        "TapasTokenizer",
        "XLMTokenizer",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineChoice:
    """``engine`` is one of ENGINES, ``why`` a sentence for people."""

    engine: str
    why: str
    needs_conversion: bool = False


def installed_modules(names: Iterable[str] = OPTIONAL_MODULES) -> frozenset[str]:
    """Which of these modules can be imported, without importing them."""
    return frozenset(name for name in names if importlib.util.find_spec(name) is not None)


def choose_engine(
    facts: ModelFacts,
    *,
    installed: frozenset[str],
    wanted: str | None = None,
    knows: Callable[[str], bool | None] = knows_family,
) -> EngineChoice:
    """The engine for this folder, or for ``wanted`` where the user asked for one.

    Raises ModelError (nothing can serve it), UnsafeModel (it runs code of its own that no handler wraps)
    or MissingExtra (an optional dependency would serve it).
    """
    if wanted is not None and wanted not in ENGINES:
        raise ModelError(f"There is no engine {wanted!r}: choose among {', '.join(ENGINES)}.")
    if wanted == "handler" or (wanted is None and facts.has_handler):
        return _handler(facts)
    _require_servable(facts)
    refusal = why_not_onnx(facts, knows)
    if wanted == "onnx":
        if refusal:
            raise ModelError(f"The onnx engine cannot serve this folder: {refusal}. Drop --engine onnx.")
        return _onnx(facts, installed, knows)
    if wanted is None and refusal is None and (_is_ready(facts) or not _only_torch(installed)):
        return _onnx(facts, installed, knows)
    return _transformers(facts, installed, knows, asked=wanted is not None, refusal=refusal)


def why_not_onnx(facts: ModelFacts, knows: Callable[[str], bool | None] = knows_family) -> str | None:
    """Why the onnx engine cannot take this folder, or None when it can."""
    by_kind = (
        (facts.is_adapter, "an adapter is applied to its base by peft"),
        (facts.task not in TEXT_ENCODER_TASKS, f"it does not serve {facts.task}"),
    )
    by_making = (
        (facts.model_type in NOT_EXPORTABLE, f"exports of {facts.model_type} are not to be trusted"),
        (_python_tokenizer(facts), "its tokenizer has no tokenizer.json form"),
        (not facts.has_tokenizer, "it has no tokenizer"),
        (_is_foreign(facts, knows), "it is made by code of its own, which is not run"),
        (
            facts.weights_format == "onnx",
            "it has no tokenizer.json, which AutoTokenizer's save_pretrained writes",
        ),
    )
    # what is exported already needs no tool of ours to be made, only to be served
    reasons = by_kind if _is_ready(facts) else by_kind + by_making
    return next((reason for holds, reason in reasons if holds), None)


def _handler(facts: ModelFacts) -> EngineChoice:
    if not facts.has_handler:
        raise ModelError(
            "There is no handler.py in this folder: drop --engine handler, "
            "or write one with `lanza init handler`."
        )
    return EngineChoice(engine="handler", why="the folder has a handler.py, which says how to serve it")


def _require_servable(facts: ModelFacts) -> None:
    if facts.kind is FolderKind.UNKNOWN or (facts.kind is FolderKind.HANDLER and not facts.config):
        raise ModelError(
            "This folder is no model that Lanza knows: it has no config.json with a model_type, "
            "no adapter_config.json, no model.onnx and no handler.py."
        )
    if facts.is_adapter and facts.base_path is None:
        raise ModelError(
            f"The adapter's base model {facts.base_model or '(none is named)'} is not on this machine: "
            "download it, or set base_model_name_or_path in adapter_config.json to its folder."
        )
    if not facts.weights:
        raise ModelError(
            "The folder holds no weights (model.safetensors, pytorch_model.bin or model.onnx): "
            "save the model again with save_pretrained, or copy the missing files."
        )
    if facts.task is None:
        what = facts.architecture or facts.model_type or "its config.json"
        raise ModelError(
            f"What to serve this model for cannot be told from {what}: "
            "give --task, or write pipeline_tag into the front matter of README.md."
        )


def _onnx(facts: ModelFacts, installed: frozenset[str], knows: Callable[[str], bool | None]) -> EngineChoice:
    if _is_ready(facts):
        return EngineChoice(engine="onnx", why=f"a text encoder with its ONNX form in {facts.onnx_path}")
    if missing := CONVERSION_MODULES - installed:
        raise MissingExtra(
            f"Converting this model to ONNX needs {_listed(missing)}: pip install 'lanza[convert]' "
            "(or give a folder with its model.onnx and tokenizer.json)."
        )
    _require_known_family(facts, knows)
    return EngineChoice(
        engine="onnx",
        why="a text encoder: converted to ONNX once, and served without torch",
        needs_conversion=True,
    )


def _transformers(
    facts: ModelFacts,
    installed: frozenset[str],
    knows: Callable[[str], bool | None],
    *,
    asked: bool,
    refusal: str | None,
) -> EngineChoice:
    if facts.weights_format == "onnx":
        raise ModelError(
            "Only ONNX weights are here, which transformers cannot load, "
            f"and for the onnx engine: {refusal or 'drop --engine transformers'}. "
            "Give the folder with model.safetensors."
        )
    if missing := _needed_by_transformers(facts) - installed:
        raise MissingExtra(f"Serving this model needs {_listed(missing)}: pip install 'lanza[transformers]'.")
    _require_known_family(facts, knows)
    if asked:
        return EngineChoice(engine="transformers", why="asked for")
    why = (
        f"onnx cannot take it: {refusal}"
        if refusal
        else "`pip install 'lanza[convert]'` would make it faster"
    )
    return EngineChoice(engine="transformers", why=why)


def _require_known_family(facts: ModelFacts, knows: Callable[[str], bool | None]) -> None:
    if facts.model_type is None or knows(facts.model_type) is not False:
        return
    if facts.custom_code:
        raise UnsafeModel(
            f"{facts.architecture or facts.model_type} is made by Python code in its repository (auto_map in "
            "config.json), and Lanza does not run such code: read it, and wrap it in a handler.py."
        )
    raise ModelError(
        f"The installed transformers does not know the model type {facts.model_type!r}: "
        "pip install --upgrade transformers, or wrap the model in a handler.py."
    )


def _needed_by_transformers(facts: ModelFacts) -> frozenset[str]:
    needed = TRANSFORMERS_MODULES
    if facts.is_adapter:
        needed |= {"peft"}
    if facts.task in IMAGE_TASKS:
        needed |= {"PIL"}
    if facts.task in AUDIO_TASKS:
        needed |= {"soundfile"}
    return needed


def _only_torch(installed: frozenset[str]) -> bool:
    """Whether transformers can serve here and conversion is not possible."""
    return installed >= TRANSFORMERS_MODULES and not installed >= CONVERSION_MODULES


def _is_foreign(facts: ModelFacts, knows: Callable[[str], bool | None]) -> bool:
    """Whether only the Python files that come with the model can make it."""
    return facts.custom_code and (facts.model_type is None or knows(facts.model_type) is not True)


def _is_ready(facts: ModelFacts) -> bool:
    return facts.onnx_path is not None and facts.tokenizer_file is not None


def _python_tokenizer(facts: ModelFacts) -> bool:
    return facts.tokenizer_file is None and facts.tokenizer_class in PYTHON_TOKENIZERS


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
