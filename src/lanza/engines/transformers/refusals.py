"""How a library's refusal to load a model is told: one line, and what to do next."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from lanza.errors import ModelError

_LONGEST = 300


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Tell what transformers, peft, safetensors or torch refuse as a ModelError about `what`."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    # Libraries have no error of their own for a folder that they cannot read: it is whatever broke first.
    known = (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ImportError,
        RuntimeError,
        pickle.UnpicklingError,
        SafetensorError,
        StrictDataclassError,
    )
    try:
        yield
    except known as error:
        raise ModelError(
            f"{what} cannot be loaded: {_one_line(error)}. `lanza doctor` says what is wrong with the folder."
        ) from error


def _one_line(error: BaseException) -> str:
    """What a library said, on one line and not longer than a message should be."""
    text = " ".join(str(error).split())
    if isinstance(error, LookupError) or not text:
        text = f"{type(error).__name__} {text}".strip()
    return (text if len(text) <= _LONGEST else text[:_LONGEST] + "…").rstrip(".")
