"""What an ONNX graph takes and gives, told by the names, types and ranks that it states.

The model held here: a graph's inputs are those that a text has, or it is refused; of its outputs, a task
reads those of the right name and rank. Exporters disagree about names, and one name may stand for classes of
a text or of its tokens; the rank tells these apart. Nothing is opened or run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from lanza.errors import ModelError
from lanza.tasks.base import Task

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
"""What a text gives."""

WHOLE_TEXT: Final = frozenset({"text-classification", "zero-shot-classification"})
"""Tasks whose model answers once for a text; of the others it answers once for each token."""

_NUMPY: Final = {
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(float)": "float32",
    "tensor(bool)": "bool",
}
_ALIASES: Final = {
    ("last_hidden_state", 3): "token_embeddings",
    ("last_hidden_state", 2): "sentence_embedding",
}
_NAMES: Final = frozenset({"logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output"})
"""Names that say what an output is: none of these is taken for something else."""


class Entry(Protocol):
    """An input or output of a graph, as onnxruntime describes it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]:
        """Sizes that are fixed, names or None for others; empty when even the rank is not stated."""
        ...


def ranks(task: Task) -> tuple[int, ...]:
    """How many axes the outputs of a task have, the best first: an embedder may pool by itself."""
    if task.name in WHOLE_TEXT or "start_logits" in task.outputs:
        return (2,)
    return (3, 2) if task.outputs == ("last_hidden_state",) else (3,)


def has_tokens(task: Task, rank: int) -> bool:
    """Whether the second axis of an output of `rank` counts tokens."""
    return task.name not in WHOLE_TEXT and rank == ranks(task)[0]


def read_inputs(entries: Sequence[Entry]) -> dict[str, Any]:
    """The graph's inputs with their numpy types. ModelError when it wants what a text does not have."""
    foreign = [entry.name for entry in entries if entry.name not in INPUTS or entry.type not in _NUMPY]
    if foreign:
        raise ModelError(
            f"this ONNX model wants {', '.join(foreign)}, and texts give {', '.join(INPUTS)}: "
            "export it for a text task, or serve it with a handler.py."
        )
    return {entry.name: np.dtype(_NUMPY[entry.type]) for entry in entries}


def choose_outputs(entries: Sequence[Entry], task: Task) -> dict[str, str]:
    """The outputs to compute, each with the name that the task knows it by, in the task's order."""
    for rank in ranks(task):
        if chosen := _of_rank(entries, task.outputs, rank):
            return chosen
    found = ", ".join(f"{entry.name} {list(entry.shape)}" for entry in entries)
    raise ModelError(
        f"this ONNX model answers {found} and {task.name} needs {', '.join(task.outputs)} with "
        f"{' or '.join(map(str, ranks(task)))} axes: choose another --task, or export it for this one."
    )


def _of_rank(entries: Sequence[Entry], wanted: Sequence[str], rank: int) -> dict[str, str]:
    fitting = [entry.name for entry in entries if len(entry.shape) in (rank, 0)]
    pooled = wanted == ("last_hidden_state",) and rank == 2
    if not pooled and all(name in fitting for name in wanted):
        return {name: name for name in wanted}
    alias = _ALIASES.get((wanted[0], rank))
    if alias in fitting:
        return {alias: wanted[0]}
    nameless = [name for name in fitting if name not in _NAMES]
    return dict(zip(nameless, wanted, strict=True)) if len(nameless) == len(wanted) else {}


def count_classes(entries: Sequence[Entry], chosen: Mapping[str, str]) -> int | None:
    """How many classes the graph's `logits` have; None when it does not say."""
    shapes = [entry.shape for entry in entries if chosen.get(entry.name) == "logits" and entry.shape]
    last = shapes[0][-1] if shapes else None
    return last if isinstance(last, int) and last > 0 else None
