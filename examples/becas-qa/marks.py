"""Text whose facts are marked ``<kind:words>``, and the plain text with spans that it becomes.

Marks live through every change of the text (joining, contracting, capitals), so no offset is ever recomputed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = re.compile(r"<(\w+):|>")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a context, and what kind of fact they state."""

    kind: str
    start: int
    end: int


def kinds_of(text: str) -> list[str]:
    """The kinds of the marked facts, in order."""
    return re.findall(r"<(\w+):", text)


def contract(text: str) -> str:
    """Spanish joins "de el" and "a el"; the article leaves the marked answer when it must."""
    text = re.sub(r"\b([Dd]e|[Aa]) (<\w+:)?[Ee]l (?=\S)", lambda m: f"{m[1]}l {m[2] or ''}", text)
    return re.sub(r"\b([Dd])eel\b", r"\1el", re.sub(r"\b([Aa])el\b", r"\1l", text))


def capitalize(text: str) -> str:
    """The first letter of a sentence, which may stand behind a mark or an opening sign."""
    found = re.match(r"(?:<\w+:)?[¿¡]?", text)
    at = found.end() if found else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def unmark(text: str) -> tuple[str, tuple[Span, ...]]:
    """Take the marks out of a text and say where the facts lie in what remains."""
    plain, spans, size, last = [], [], 0, 0
    opened: tuple[str, int] | None = None
    for mark in MARK.finditer(text):
        piece = text[last : mark.start()]
        plain.append(piece)
        size += len(piece)
        last = mark.end()
        if mark[1]:
            opened = (mark[1], size)
        elif opened:
            spans.append(Span(kind=opened[0], start=opened[1], end=size))
            opened = None
    return "".join([*plain, text[last:]]), tuple(spans)
