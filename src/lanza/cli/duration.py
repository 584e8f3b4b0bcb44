"""Spans of time as options have them: `12h`, `30d`, `8w`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from lanza.errors import UsageError

_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}


def duration(text: str, option: str) -> timedelta:
    """What `option` was given. UsageError."""
    found = re.fullmatch(r"([0-9]{1,4})([hdw])", text)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{option} wants a number and h, d or w: 12h, 30d, 8w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
