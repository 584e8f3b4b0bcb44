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

KnowsFamily = Callable[[str], bool | None]

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
    """``engine`` is one of ENGINES, ``why`` a few words for people."""

    engine: str
    why: str
    needs_conversion: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Nothing here serves the folder: the ``reason``, and the ``next_step`` that would change it."""

    reason: str
    next_step: str
    error: type[ModelError] = ModelError


def installed_modules(names: Iterable[str] = OPTIONAL_MODULES) -> frozenset[str]:
    """Which of these modules can be imported, without importing them."""
    return frozenset(name for name in names if importlib.util.find_spec(name) is not None)


def choose_engine(
    facts: ModelFacts,
    *,
    installed: frozenset[str],
    wanted: str | None = None,
    knows: KnowsFamily = knows_family,
) -> EngineChoice:
    """The engine for this folder, or for ``wanted`` where the user asked for one.

    Raises ModelError (nothing can serve it), UnsafeModel (it runs code of its own that no handler wraps)
    or MissingExtra (an optional dependency would serve it).
    """
    outcome = decide(facts, installed=installed, wanted=wanted, knows=knows)
    if isinstance(outcome, Refusal):
        raise outcome.error(f"{outcome.reason}: {outcome.next_step}")
    return outcome


def decide(
    facts: ModelFacts,
    *,
    installed: frozenset[str],
    wanted: str | None = None,
    knows: KnowsFamily = knows_family,
) -> EngineChoice | Refusal:
    """The same as a value, a refusal included."""
    if wanted is not None and wanted not in ENGINES:
        return Refusal(reason=f"There is no engine {wanted!r}", next_step=f"choose {' or '.join(ENGINES)}.")
    if wanted == "handler" or (wanted is None and facts.has_handler):
        return _handler(facts)
    if unservable := _why_unservable(facts):
        return unservable
    against = why_not_onnx(facts, knows)
    if wanted == "onnx" and against:
        return Refusal(
            reason=f"The onnx engine cannot serve this folder, as {against}", next_step="drop --engine onnx."
        )
    if wanted == "onnx" or (wanted is None and not against and _can_be_onnx(facts, installed)):
        return _onnx(facts, installed, knows)
    return _transformers(facts, installed, knows, asked=wanted is not None, against=against)


def why_not_onnx(facts: ModelFacts, knows: KnowsFamily = knows_family) -> str | None:
    """Why the onnx engine cannot take this folder, or None when it can."""
    by_kind = (
        (facts.is_adapter, "an adapter is applied to its base by peft"),
        (facts.task not in TEXT_ENCODER_TASKS, f"onnx does not serve {facts.task}"),
    )
    by_making = (
        (facts.model_type in NOT_EXPORTABLE, f"exports of {facts.model_type} are not to be trusted"),
        (_python_tokenizer(facts), "its tokenizer has no tokenizer.json form"),
        (not facts.has_tokenizer, "it has no tokenizer"),
        (_is_foreign(facts, knows), "it is made by code of its own, which is not run"),
        (
            facts.weights_format == "onnx",
            "it has no tokenizer.json (AutoTokenizer's save_pretrained writes it)",
        ),
    )
    # what is exported already needs no tool of ours to be made, only to be served
    reasons = by_kind if _is_ready(facts) else by_kind + by_making
    return next((reason for holds, reason in reasons if holds), None)


def _handler(facts: ModelFacts) -> EngineChoice | Refusal:
    if facts.has_handler:
        return EngineChoice(engine="handler", why="the folder has a handler.py, which says how to serve it")
    return Refusal(
        reason="There is no handler.py in this folder",
        next_step="drop --engine handler, or write one with `lanza init handler`.",
    )


def _why_unservable(facts: ModelFacts) -> Refusal | None:
    if facts.kind is FolderKind.UNKNOWN or (facts.kind is FolderKind.HANDLER and not facts.config):
        return Refusal(
            reason="This folder is no model that Lanza knows",
            next_step="give one with a config.json that has a model_type, or with an adapter_config.json "
            "or a handler.py.",
        )
    if facts.is_adapter and facts.base_path is None:
        return Refusal(
            reason=f"The adapter's base model {facts.base_model or '(none is named)'} is not on this machine",
            next_step="download it, or set base_model_name_or_path in adapter_config.json to its folder.",
        )
    if not facts.weights:
        return Refusal(
            reason="The folder holds no weights (model.safetensors, pytorch_model.bin or model.onnx)",
            next_step="save the model again with save_pretrained, or copy the missing files.",
        )
    if facts.task is None:
        what = facts.architecture or facts.model_type
        return Refusal(
            reason=f"What to serve this model for cannot be told from {what}",
            next_step="give --task, or write pipeline_tag into the front matter of README.md.",
        )
    return None


def _onnx(facts: ModelFacts, installed: frozenset[str], knows: KnowsFamily) -> EngineChoice | Refusal:
    if _is_ready(facts):
        return EngineChoice(engine="onnx", why=f"a text encoder with its ONNX form in {facts.onnx_path}")
    if missing := CONVERSION_MODULES - installed:
        return Refusal(
            reason=f"Converting this model to ONNX needs {_listed(missing)}",
            next_step="pip install 'lanza[convert]' (or give a folder with model.onnx and tokenizer.json).",
            error=MissingExtra,
        )
    return _why_unknown(facts, knows) or EngineChoice(
        engine="onnx",
        why="a text encoder: converted to ONNX once, and served without torch",
        needs_conversion=True,
    )


def _transformers(
    facts: ModelFacts, installed: frozenset[str], knows: KnowsFamily, *, asked: bool, against: str | None
) -> EngineChoice | Refusal:
    if facts.weights_format == "onnx":
        return Refusal(
            reason="Only ONNX weights are here, which transformers cannot load"
            + (f", nor can the onnx engine, as {against}" if against else ""),
            next_step="give the folder that holds model.safetensors too.",
        )
    if missing := _needed_by_transformers(facts) - installed:
        return Refusal(
            reason=f"Serving this model needs {_listed(missing)}",
            next_step="pip install 'lanza[transformers]'.",
            error=MissingExtra,
        )
    if unknown := _why_unknown(facts, knows):
        return unknown
    if asked:
        return EngineChoice(engine="transformers", why="asked for")
    return EngineChoice(
        engine="transformers", why=against or "pip install 'lanza[convert]' would make it faster"
    )


def _why_unknown(facts: ModelFacts, knows: KnowsFamily) -> Refusal | None:
    """Why transformers cannot make this model by itself, or None when it can (or nobody knows)."""
    if facts.model_type is None or knows(facts.model_type) is not False:
        return None
    if facts.custom_code:
        return Refusal(
            reason=f"{facts.architecture or facts.model_type} is made by Python code that comes with it "
            "(auto_map in config.json), and such code is not run",
            next_step="read it, and wrap the model in a handler.py.",
            error=UnsafeModel,
        )
    return Refusal(
        reason=f"The installed transformers does not know the model type {facts.model_type!r}",
        next_step="pip install --upgrade transformers, or wrap the model in a handler.py.",
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


def _can_be_onnx(facts: ModelFacts, installed: frozenset[str]) -> bool:
    """Whether onnx is the way: it is there, can be made, or nothing else could serve either."""
    return _is_ready(facts) or installed >= CONVERSION_MODULES or not installed >= TRANSFORMERS_MODULES


def _is_foreign(facts: ModelFacts, knows: KnowsFamily) -> bool:
    """Whether only the Python files that come with the model can make it."""
    return facts.custom_code and (facts.model_type is None or knows(facts.model_type) is not True)


def _is_ready(facts: ModelFacts) -> bool:
    return facts.onnx_path is not None and facts.tokenizer_file is not None


def _python_tokenizer(facts: ModelFacts) -> bool:
    return facts.tokenizer_file is None and facts.tokenizer_class in PYTHON_TOKENIZERS


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
