"""Amounts of bytes as options have them: `500MB`, `50GB`, `2TB`."""

from __future__ import annotations

import re
from typing import Final

from lanza.errors import UsageError

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size(text: str, option: str) -> int:
    """What `option` was given, in bytes. UsageError."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([KMGT]?)B", text.upper())
    if found is None:
        raise UsageError(f"{option} wants a number and a unit: 500MB, 50GB, 2TB.")
    return int(float(found[1]) * _UNITS[found[2]])
