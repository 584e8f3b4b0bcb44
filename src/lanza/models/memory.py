"""The memory that a model needs at each precision, against what this machine has free.

The model held here: weights are parameters times bits, where INT8 and INT4 carry a scale per block, and
"float16" stands for bfloat16 as well; on top come a working share of the weights for activations, and
what the runtime itself takes. These are estimates for a first answer, not for a budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lanza.models.facts import ModelFacts
from lanza.models.weights import BITS

BITS_PER_PARAMETER: Final[Mapping[str, float]] = {"float32": 32, "float16": 16, "int8": 8.5, "int4": 4.5}
WORKING_SHARE: Final = 0.2
RUNTIME_BYTES: Final[Mapping[str, int]] = {"onnx": 100 * 2**20, "transformers": 450 * 2**20}
_LARGER_RUNTIME: Final = 450 * 2**20
_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Bytes of memory: what there is, and what can be taken without swapping."""

    total: int
    available: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What serving takes at one precision, in bytes: the weights, and all together."""

    precision: str
    weights: int
    total: int
    is_stored: bool = False
    """Whether the folder holds the weights at this precision."""


def this_machine(cgroup: Path = _CGROUP) -> Machine:
    """What this machine has, or the container that we are in where that is less."""
    import psutil  # type: ignore[import-untyped]

    memory = psutil.virtual_memory()
    limit = _number(cgroup / "memory.max")
    if limit is None or limit >= memory.total:
        return Machine(total=memory.total, available=memory.available)
    used = _number(cgroup / "memory.current") or 0
    return Machine(total=limit, available=min(memory.available, max(limit - used, 0)))


def needs(facts: ModelFacts, base: ModelFacts | None, engine: str | None) -> tuple[Need, ...]:
    """The need at each precision, the largest first; empty when the parameters cannot be counted.

    An adapter needs its base's weights and its own.
    """
    parts = [part for part in (facts, base) if part is not None]
    runtime = RUNTIME_BYTES.get(engine or "", _LARGER_RUNTIME)
    if any(part.parameters is None for part in parts):
        weights = sum(part.weights_bytes for part in parts)
        return (_need("as stored", weights, runtime, is_stored=True),) if weights else ()
    parameters = sum(part.parameters or 0 for part in parts)
    stored = _stored_precision(base or facts)
    return tuple(
        _need(name, int(parameters * bits / 8), runtime, is_stored=name == stored)
        for name, bits in BITS_PER_PARAMETER.items()
    )


def stored_need(found: tuple[Need, ...]) -> Need | None:
    """The need as the folder is, without any conversion; the largest when its precision is another."""
    return next((need for need in found if need.is_stored), found[0] if found else None)


def _need(precision: str, weights: int, runtime: int, *, is_stored: bool) -> Need:
    total = int(weights * (1 + WORKING_SHARE)) + runtime
    return Need(precision=precision, weights=weights, total=total, is_stored=is_stored)


def _stored_precision(facts: ModelFacts) -> str:
    """The precision nearest to the dtype that most parameters have."""
    bits = BITS.get(next(iter(facts.dtypes), "F32"), 32)
    return next((name for name, size in BITS_PER_PARAMETER.items() if int(size) <= bits), "int4")


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # no such file outside Linux, and "max" where there is no limit
