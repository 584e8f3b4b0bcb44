"""Safetensors files, read by their headers alone: which tensors, of what type and shape, and where.

The layout: 8 bytes of little-endian length, that many bytes of JSON, then the data. The JSON maps a
name to its dtype, its shape and its first and last byte in the data. The data is never read here. A
header that lies is reported in ``Header.problems``: whatever the file holds, nothing is raised.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LARGEST_HEADER: Final = 100_000_000  # the limit of the safetensors library
_SHOWN: Final = 3

BITS: Final[Mapping[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One tensor of a file: ``begin`` and ``end`` are bytes from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself, and in what it is wrong (empty when it is sound)."""

    tensors: tuple[Tensor, ...] = ()
    problems: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Any damage is a problem in the answer, never an error."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                return _damaged(f"the file has {size} bytes, which is too short for a header")
            (length,) = struct.unpack("<Q", start)
            if length > min(LARGEST_HEADER, size - 8):
                return _damaged(f"the header says it is {length:,} bytes long and the file has {size:,}")
            text = file.read(length)
    except OSError as error:
        return _damaged(f"the file cannot be read: {error.strerror}")
    return _parse(text, data_size=size - 8 - length)


def count_by_dtype(tensors: Iterable[Tensor]) -> dict[str, int]:
    """How many parameters there are of each dtype, the most frequent first."""
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.parameters
    return dict(counts.most_common())


def _damaged(problem: str) -> Header:
    return Header(problems=(problem,))


def _parse(text: bytes, *, data_size: int) -> Header:
    duplicates: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counted = Counter(name for name, _ in pairs)
        duplicates.extend(name for name, times in counted.items() if times > 1)
        return dict(pairs)

    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        return _damaged(f"the header is not valid JSON: {error}")
    if not isinstance(document, dict):
        return _damaged("the header is not a JSON object")
    problems = [f"the header names {name!r} twice" for name in duplicates[:_SHOWN]]
    problems += _check_metadata(document.pop("__metadata__", {}))
    tensors: list[Tensor] = []
    for name, entry in document.items():
        tensor = _tensor(name, entry)
        if isinstance(tensor, Tensor):
            tensors.append(tensor)
        else:
            problems.append(tensor)
    if len(tensors) == len(document):  # else every malformed tensor would be a gap as well
        problems += _check_layout(tensors, data_size=data_size)
    return Header(tensors=tuple(tensors), problems=_summary(problems))


def _check_metadata(metadata: object) -> list[str]:
    if isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()):
        return []
    return ["the header's __metadata__ is not an object of strings"]


def _tensor(name: str, entry: object) -> Tensor | str:
    """The tensor that an entry of the header describes, or what is wrong with it."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            return f"tensor {name!r} is not described by a dtype, a shape and two offsets"
    if dtype not in BITS:
        return f"tensor {name!r} has the unknown dtype {dtype!r}"
    if not is_possible(shape):
        return f"tensor {name!r} has the impossible shape {str(shape)[:60]}"
    if bool in (type(begin), type(end)) or not 0 <= begin <= end < 2**63:
        return f"tensor {name!r} has impossible offsets"
    tensor = Tensor(name=name, dtype=dtype, shape=tuple(shape), begin=begin, end=end)
    bits = tensor.parameters * BITS[dtype]
    if bits != (end - begin) * 8:
        return f"tensor {name!r} needs {bits // 8:,} bytes for its shape and has {end - begin:,}"
    return tensor


def is_possible(shape: list[Any]) -> bool:
    """Sizes that are whole and whose product an address can hold; a lying header may say anything."""
    product = 1
    for size in shape:
        if type(size) is not int or size < 0:
            return False
        product *= max(size, 1)
        if product >= 2**63:
            return False
    return True


def _check_layout(tensors: list[Tensor], *, data_size: int) -> list[str]:
    """Tensors must lie one after another, without a gap, to the very end of the file."""
    problems: list[str] = []
    position = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin < position:
            problems.append(f"tensor {tensor.name!r} overlaps the one before it")
        elif tensor.begin > position:
            problems.append(f"{tensor.begin - position:,} bytes before tensor {tensor.name!r} are nobody's")
        position = max(position, tensor.end)
    if position > data_size:
        problems.append(f"the file is cut short: {position - data_size:,} bytes of its data are missing")
    elif position < data_size:
        problems.append(f"{data_size - position:,} bytes at the end belong to no tensor")
    return problems


def _summary(problems: list[str]) -> tuple[str, ...]:
    if len(problems) <= _SHOWN:
        return tuple(problems)
    return (*problems[:_SHOWN], f"and {len(problems) - _SHOWN} more problems of this kind")
