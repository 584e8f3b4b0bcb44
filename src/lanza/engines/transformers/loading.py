"""From a model folder to a torch model that is ready to answer: shared by all engines of this package.

The model held here: only local files are read, no code that comes with a model is run, and every weight of
what is served was trained. A head that the folder has no weights for would be random numbers, so it is
refused by the names of what is missing.

Precision: a GPU computes in the type that the folder was saved in. A CPU computes in float32, which it is
fastest and most exact at, unless the float32 copy would not fit in the memory that is free: then 16-bit
weights stay as they are (bfloat16; a CPU has no use for float16).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lanza.engines.base import About, EngineOptions
from lanza.engines.transformers.adapter import Adapter, apply, read_adapter
from lanza.engines.transformers.refusals import loading
from lanza.errors import ModelError, UnsafeModel
from lanza.models.facts import ModelFacts
from lanza.models.memory import this_machine
from lanza.models.pickles import require_clean
from lanza.models.text import tokenizer_folder

_SHOWN = 4
_NO_ADAPTER = {"subfolder": ".none"}
"""Where transformers may look for an adapter: they are applied here, and trainers leave stray ones behind."""


def load_model(options: EngineOptions, auto_class: str, *, unused: Sequence[str] = ()) -> Any:
    """The folder's model as `transformers.<auto_class>` makes it, in eval mode, on the device.

    A weight that is missing is a ModelError unless its name has one of `unused` in it: parts of the model
    that the task does not look at. Adapters are merged into their base where their kind allows it.
    """
    import transformers

    _quieten(transformers)
    if options.threads:
        torch.set_num_threads(options.threads)
    facts = options.facts
    adapter = _adapter(facts)
    folder = _weights_folder(facts)
    require_clean(facts.path, facts.weights)
    with loading(f"The model in {folder.name}"):
        config = _config(transformers, facts, folder, adapter)
        model, report = getattr(transformers, auto_class).from_pretrained(
            folder,
            config=config,
            dtype=_dtype(facts, folder, config),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=_has_safetensors(facts, folder),
            weights_only=True,
            adapter_kwargs=_NO_ADAPTER,
            ignore_mismatched_sizes=True,  # told below, with the sizes
            output_loading_info=True,
        )
    _require_all(report, adapter, unused)
    if adapter is not None:
        model = apply(adapter, model)
    return model.eval().requires_grad_(False).to(device())


def load_tokenizer(options: EngineOptions) -> Any:
    """The folder's tokenizer as AutoTokenizer makes it; for an adapter without one, its base's."""
    from transformers import AutoTokenizer

    folder = tokenizer_folder(options.facts)
    with loading(f"The tokenizer in {folder.name}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about other packages, not about this folder
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def device() -> torch.device:
    """The first GPU that torch can use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def about(options: EngineOptions, model: Any, *, limit: int | None = None, **details: Any) -> About:
    """What `/info` says of an engine that runs `model`."""
    parameter = next(model.parameters())
    return About(
        engine="transformers",
        why=options.why,
        task=options.task.name if options.task else options.facts.task,
        device=str(parameter.device),
        dtype=str(model.dtype).removeprefix("torch."),
        limit=limit,
        details={"class": type(model).__name__, **details},
    )


def run_facts(facts: ModelFacts, model: Any) -> ModelFacts:
    """The facts with the config that the model runs with: an adapter may have other classes than its base."""
    return replace(facts, config=model.config.to_dict()) if facts.is_adapter else facts


def _quieten(transformers: Any) -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _adapter(facts: ModelFacts) -> Adapter | None:
    if not facts.is_adapter:
        return None
    if facts.base_path is None:
        raise ModelError(
            f"The adapter's base model {facts.base_model or '(none is named)'} is not on this machine: "
            "download it, or set base_model_name_or_path in adapter_config.json to its folder."
        )
    return read_adapter(facts)


def _weights_folder(facts: ModelFacts) -> Path:
    return facts.base_path if facts.is_adapter and facts.base_path else facts.path


def _config(transformers: Any, facts: ModelFacts, folder: Path, adapter: Adapter | None) -> Any:
    """The model's config; an adapter's own config.json, or the size of its head, overrules its base's."""
    source = facts.path if facts.has("config.json") else folder
    config = transformers.AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if "/" in str(getattr(config, "_attn_implementation", None) or ""):
        raise UnsafeModel(
            "config.json asks for an attention kernel from a repository, and Lanza does not run such code: "
            'take "attn_implementation" out of it.'
        )
    if adapter is not None and adapter.classes and adapter.classes != config.num_labels:
        config.num_labels = adapter.classes
    return config


def _dtype(facts: ModelFacts, folder: Path, config: Any) -> Any:
    saved = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    if device().type == "cuda":
        return saved
    weights = _base_bytes(folder) if facts.is_adapter else facts.weights_bytes
    fits = weights * 4 / saved.itemsize < this_machine().available * 0.8
    return torch.float32 if fits or saved.itemsize == 4 else torch.bfloat16


def _base_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _has_safetensors(facts: ModelFacts, folder: Path) -> bool:
    """Whether the model's own weights are safetensors; a base's pickles are scanned on the way."""
    if not facts.is_adapter:
        return facts.weights_format != "pickle"
    if any(folder.glob("*.safetensors")):
        return True
    require_clean(folder, sorted(file.name for file in folder.glob("pytorch_model*.bin")))
    return False


def _require_all(report: Any, adapter: Adapter | None, unused: Sequence[str]) -> None:
    """Refuse a model of which a part that is used has no weights, or weights of another size."""
    brought = adapter.brings if adapter is not None else frozenset()
    lacking = dict.fromkeys(report["missing_keys"], "")
    lacking |= {
        name: f" ({list(stored)} in the file, {list(wanted)} by config.json)"
        for name, stored, wanted in report["mismatched_keys"]
    }
    names = sorted(n for n in lacking if n not in brought and not any(part in n for part in unused))
    if names:
        shown = ", ".join(name + lacking[name] for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise ModelError(
            f"The folder has no weights for {shown}{more}, so its answers would be random: "
            "give the fine-tuned model, or ask for the --task that it was trained for."
        )
