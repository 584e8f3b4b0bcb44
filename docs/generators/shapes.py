"""A Python type as people read JSON: `[{label: string, score: number}, ...]`.

Types with many fields are written by name, and `where` says afterwards what the names mean.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from generators.cell import cell

MOST_INLINE = 5
NAMES = {str: "string", int: "integer", float: "number", bool: "true or false", Any: "anything"}

Fields = list[tuple[str, Any]]


def fields(struct: type[msgspec.Struct]) -> Fields:
    """The fields of a body or an answer with their types, without `options`, which is in every body."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found = [(field.encode_name, hints[field.name]) for field in msgspec.structs.fields(struct)]
    return [(name, kind) for name, kind in found if name != "options"]


def without_null(kind: Any) -> Any:
    """The one type that there is beside null, where null means the default."""
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    return members[0] if _is_union(kind) and len(members) == 1 else kind


class Shapes:
    """Writes types, and remembers those that it wrote by name."""

    def __init__(self) -> None:
        self._named: dict[str, type[msgspec.Struct]] = {}

    def code(self, kind: Any) -> str:
        return cell(f"`{self.shape(kind)}`")

    def where(self) -> Iterator[str]:
        """What the names stand for."""
        told: set[str] = set()
        while left := [name for name in self._named if name not in told]:
            told.update(left)
            for name in left:
                yield from ("", f"where `{name}` is `{self._inside(self._named[name])}`")

    def shape(self, kind: Any) -> str:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind)
        if typing.get_origin(kind) is not None:
            return self._compound(kind, typing.get_origin(kind), typing.get_args(kind))
        return NAMES.get(kind, getattr(kind, "__name__", str(kind)))

    def _compound(self, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> str:
        if origin is typing.Annotated:
            return "base64" if _is_base64(arguments[1:]) else self.shape(arguments[0])
        if _is_union(kind):
            return " or ".join(self.shape(member) for member in arguments if member is not types.NoneType)
        if origin is typing.Literal:
            return " or ".join(json.dumps(value) for value in arguments)
        if issubclass(origin, Mapping):
            return f"{{string: {self.shape(arguments[1])}}}"
        return f"[{self.shape(arguments[0])}, ...]"

    def _struct(self, kind: type[msgspec.Struct]) -> str:
        if len(fields(kind)) <= MOST_INLINE:
            return self._inside(kind)
        self._named[kind.__name__] = kind
        return kind.__name__

    def _inside(self, struct: type[msgspec.Struct]) -> str:
        return "{" + ", ".join(f"{name}: {self.shape(kind)}" for name, kind in fields(struct)) + "}"


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _is_base64(metadata: tuple[Any, ...]) -> bool:
    return any("contentEncoding" in (getattr(meta, "extra_json_schema", None) or {}) for meta in metadata)
