"""The facts of a model folder: its kind, task, size, tokenizer and positions, read in a few milliseconds.

The model held here: everything follows from the names of the files, a few small JSON documents and the
headers of the safetensors files. Weights are neither read, hashed nor scanned, and what is damaged or
unsafe is not judged here: that is `lanza.models.doctor`. Only a folder that cannot be understood at all
(absent, no folder, a config.json that is no JSON) is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from lanza.errors import ModelError
from lanza.models.adapters import find_base
from lanza.models.documents import Json, read_card, read_json, read_json_or_empty
from lanza.models.files import FileFact, list_files, require_folder
from lanza.models.heads import TASKS, task_of_adapter, tasks_of
from lanza.models.layout import (
    ONNX_PATHS,
    PROCESSOR_FILES,
    TOKENIZER_FILES,
    find_weights,
    first_present,
    holds_adapter,
)
from lanza.models.positions import max_positions
from lanza.models.weights import count_by_dtype, read_header

_NO_LIMIT: Final = 10**9  # tokenizers without a limit say 10**30


class FolderKind(StrEnum):
    """What a folder is, by what it would be served as unless told otherwise."""

    TRANSFORMERS = "transformers"
    ADAPTER = "adapter"
    ONNX = "onnx"
    HANDLER = "handler"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is known of a model folder. Paths in `files`, `weights` and `onnx_path` are relative to `path`."""

    path: Path
    kind: FolderKind
    files: tuple[FileFact, ...]

    task: str | None = None
    """The Hub's name of the task; None when nothing in the folder tells."""
    task_source: str = ""
    """Where the task was read, in words."""
    possible_tasks: tuple[str, ...] = ()
    """All that the architecture can do; empty when it is not known."""
    card_task: str | None = None
    """The card's `pipeline_tag`, believed or not."""

    architecture: str | None = None
    model_type: str | None = None
    config: Json = field(default_factory=dict)
    """config.json; for an adapter without one, its base's."""
    is_encoder_decoder: bool = False
    custom_code: bool = False
    """`auto_map` in config.json: the model is made by Python files that come with it."""
    max_positions: int | None = None
    """The longest input in tokens that the position table takes; None without a table."""

    parameters: int | None = None
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Safetensors dtype ("F32", "BF16") to the number of parameters that have it."""
    weights: tuple[str, ...] = ()
    weights_format: str | None = None
    """"safetensors", "pickle" or "onnx": the best of what is there."""
    onnx_path: str | None = None

    tokenizer_file: str | None = None
    """"tokenizer.json" where there is one."""
    has_tokenizer: bool = False
    tokenizer_class: str | None = None
    tokenizer_max_length: int | None = None
    """The tokenizer's `model_max_length`, which is no promise that the model has as many positions."""
    has_processor: bool = False
    sentence_modules: bool = False
    """A sentence-transformers model: modules.json says how token vectors become one."""
    has_handler: bool = False

    adapter: Json = field(default_factory=dict)
    """adapter_config.json."""
    base_model: str | None = None
    base_path: Path | None = None

    @property
    def weights_bytes(self) -> int:
        sizes = {file.path: file.size for file in self.files}
        return sum(sizes.get(name, 0) for name in self.weights)

    @property
    def is_adapter(self) -> bool:
        """Whether the weights here change a base model's, a handler.py beside them or not."""
        return bool(self.adapter) and holds_adapter(self.weights)

    def has(self, name: str) -> bool:
        return any(file.path == name for file in self.files)


def read_facts(path: Path, *, cache: Path | None = None) -> ModelFacts:
    """The facts of the folder ``path``. ``cache`` is the Hub's cache, where a base model is looked for.

    Raises ModelError when there is no such folder, or its config.json or adapter_config.json is broken.
    """
    require_folder(path)
    files = list_files(path)
    names = frozenset(file.path for file in files if file.is_regular)
    adapter = read_json(path / "adapter_config.json") if "adapter_config.json" in names else {}
    base_model, base_path = _base_of(adapter, path, cache)
    config = _config(path, names, base_path)
    weights, weights_format = find_weights(path, names)
    parameters, dtypes = _count(path, weights)
    tokenizer = read_json_or_empty(path / "tokenizer_config.json")
    facts = ModelFacts(
        path=path,
        kind=_kind(names, config, weights),
        files=files,
        architecture=_first_string(config.get("architectures")),
        model_type=_string(config.get("model_type")),
        config=config,
        is_encoder_decoder=config.get("is_encoder_decoder") is True,
        custom_code=bool(config.get("auto_map")),
        max_positions=max_positions(config),
        parameters=parameters,
        dtypes=dtypes,
        weights=weights,
        weights_format=weights_format,
        onnx_path=first_present(ONNX_PATHS, names),
        tokenizer_file=first_present(("tokenizer.json",), names),
        has_tokenizer=not names.isdisjoint(TOKENIZER_FILES),
        tokenizer_class=_string(tokenizer.get("tokenizer_class")),
        tokenizer_max_length=_max_length(tokenizer),
        has_processor=not names.isdisjoint(PROCESSOR_FILES),
        sentence_modules="modules.json" in names,
        has_handler="handler.py" in names,
        adapter=adapter,
        base_model=base_model,
        base_path=base_path,
    )
    return _with_detected_task(facts)


def with_task(facts: ModelFacts, task: str) -> ModelFacts:
    """The same folder, served for another task. Raises ModelError if its architecture cannot do it."""
    if task not in TASKS:
        raise ModelError(f"{task!r} is no task that Lanza serves. It serves: {', '.join(sorted(TASKS))}.")
    if facts.possible_tasks and task not in facts.possible_tasks and not facts.has_handler:
        raise ModelError(
            f"{facts.architecture} cannot do {task}: it does {' or '.join(facts.possible_tasks)}. "
            "Ask for one of these, or give a model that was trained for the task."
        )
    return replace(facts, task=task, task_source="asked for")


def _with_detected_task(facts: ModelFacts) -> ModelFacts:
    card = _card_task(facts.path)
    trained_for = task_of_adapter(facts.adapter.get("task_type"))
    possible = (trained_for,) if trained_for else tasks_of(facts.architecture, facts.config)
    task, source = _choose_task(facts, card, possible)
    return replace(facts, task=task, task_source=source, possible_tasks=possible, card_task=card)


def _choose_task(facts: ModelFacts, card: str | None, possible: Sequence[str]) -> tuple[str | None, str]:
    if card in TASKS and (not possible or card in possible):
        return card, "the model card's pipeline_tag"
    if facts.sentence_modules and "sentence-similarity" in possible:
        return "sentence-similarity", "modules.json of sentence-transformers"
    if possible:
        told_by = "adapter_config.json's task_type" if facts.adapter.get("task_type") else facts.architecture
        return possible[0], str(told_by)
    return None, ""


def _card_task(path: Path) -> str | None:
    values = read_card(path / "README.md").get("pipeline_tag", ())
    return values[0] if values else None


def _base_of(adapter: Json, path: Path, cache: Path | None) -> tuple[str | None, Path | None]:
    name = _string(adapter.get("base_model_name_or_path"))
    if not name:
        return None, None
    return name, find_base(name, beside=path, revision=_string(adapter.get("revision")), cache=cache)


def _config(path: Path, names: frozenset[str], base_path: Path | None) -> Json:
    if "config.json" in names:
        return read_json(path / "config.json")
    return read_json(base_path / "config.json") if base_path else {}


def _kind(names: frozenset[str], config: Json, weights: Sequence[str]) -> FolderKind:
    if "handler.py" in names:
        return FolderKind.HANDLER
    # Trainers leave an adapter_config.json beside a merged model as well.
    if "adapter_config.json" in names and holds_adapter(weights):
        return FolderKind.ADAPTER
    if weights and weights[0] in ONNX_PATHS:
        return FolderKind.ONNX
    if config.get("model_type") or config.get("architectures"):
        return FolderKind.TRANSFORMERS
    return FolderKind.UNKNOWN


def _count(path: Path, weights: Sequence[str]) -> tuple[int | None, dict[str, int]]:
    headers = [read_header(path / name) for name in weights if name.endswith(".safetensors")]
    if not headers or any(header.problems for header in headers):
        return None, {}
    dtypes = count_by_dtype(tensor for header in headers for tensor in header.tensors)
    return sum(dtypes.values()), dtypes


def _max_length(tokenizer: Json) -> int | None:
    length = tokenizer.get("model_max_length")
    return length if isinstance(length, int) and 0 < length < _NO_LIMIT else None


def _first_string(value: Any) -> str | None:
    return _string(value[0]) if isinstance(value, list) and value else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
