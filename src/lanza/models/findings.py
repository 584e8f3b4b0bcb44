"""What the doctor has to say: one finding at a time, each with what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """ERROR: it cannot or must not be served. WARNING: it can, but look. NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """``code`` is stable and for programs, ``message`` and ``next_step`` for people.

    ``path`` is the file it is about, relative to the folder, or None for the folder as a whole.
    """

    level: Level
    code: str
    message: str
    next_step: str
    path: str | None = None


def error(code: str, message: str, next_step: str, path: str | None = None) -> Finding:
    return Finding(level=Level.ERROR, code=code, message=message, next_step=next_step, path=path)


def warning(code: str, message: str, next_step: str, path: str | None = None) -> Finding:
    return Finding(level=Level.WARNING, code=code, message=message, next_step=next_step, path=path)


def note(code: str, message: str, next_step: str, path: str | None = None) -> Finding:
    return Finding(level=Level.NOTE, code=code, message=message, next_step=next_step, path=path)
