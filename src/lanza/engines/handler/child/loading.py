"""Finds the handler in a model folder and makes it, as Hugging Face's inference toolkit does."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FORMS = (("handler", "EndpointHandler"), ("pipeline", "PreTrainedPipeline"))
"""Module and class, the first that is there; the second is the older form."""


class NoHandler(TypeError):
    """The folder's module is not written as a handler must be."""


def load_handler(folder: str) -> Any:
    """The handler of this folder: an object that can be called, or has `batch`."""
    sys.path.insert(0, folder)
    for module_name, class_name in FORMS:
        if (Path(folder) / f"{module_name}.py").is_file():
            return _make(module_name, class_name, folder)
    raise NoHandler("the folder has neither a handler.py nor a pipeline.py")


def _make(module_name: str, class_name: str, folder: str) -> Any:
    module = import_module(module_name)
    made_of: Any = getattr(module, class_name, None)
    is_class = inspect.isclass(made_of)
    if not is_class:
        raise NoHandler(f"{module_name}.py has no class {class_name}: name your class so")
    handler = made_of(folder)
    if not callable(handler) and not callable(getattr(handler, "batch", None)):
        raise NoHandler(f"{class_name} has no __call__(self, data): add one that returns the answer")
    return handler
