"""The engines, each loaded by name when a replica needs it and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lanza.engines.base import EngineOptions
from lanza.errors import UsageError

ENGINES = {
    "onnx": "lanza.engines.onnx:OnnxEngine",
    "transformers": "lanza.engines.transformers:load",
    "handler": "lanza.engines.handler:HandlerProcess",
}
"""Name to `module:callable`; the callable takes `EngineOptions` and returns a loaded engine."""


def load(name: str, options: EngineOptions) -> Any:
    """A loaded engine of the kind `name`. ModelError when the folder cannot be loaded by it."""
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}; there are: {', '.join(sorted(ENGINES))}.")
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(import_module(module), attribute)(options)
