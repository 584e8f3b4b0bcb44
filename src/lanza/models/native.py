"""Whether the installed transformers knows a model family by itself, read from its source as text.

Importing transformers takes seconds, and its table of families is a list of literals: finding one of
them in the file takes a millisecond.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

_TABLES: Final = ("models/auto/auto_mappings.py", "models/auto/configuration_auto.py")


def knows_family(model_type: str) -> bool | None:
    """Whether transformers has this `model_type`; None when it is not installed or not readable."""
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return None
    root = Path(found.submodule_search_locations[0])
    texts = [table.read_text(encoding="utf-8") for name in _TABLES if (table := root / name).is_file()]
    if not texts:
        return None
    return any(f'("{model_type}", ' in text for text in texts)
