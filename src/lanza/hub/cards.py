"""The card of a repository: README.md, with YAML between two lines of `---` at its top.

A card is written by people. Whatever it holds, nothing is raised: `problem` says what is wrong, and `data` is
then empty. What the card says of the repository is read from `data` with the functions below, which take what
is written in place of what should be: one value instead of a list, numbers and booleans instead of text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lanza.errors import BadRequest
from lanza.hub.documents import parse_yaml

CARD: Final = "README.md"
MOST_TAGS: Final = 1000
LONGEST_TAG: Final = 256

_FRONT: Final = re.compile(r"\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Card:
    """`data` is the YAML, `text` the Markdown below it, `problem` what is wrong with the YAML."""

    data: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    problem: str | None = None


def read_card(content: bytes | str) -> Card:
    """The card in the content of a README.md."""
    whole = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    front = _FRONT.match(whole)
    if front is None:
        return Card(text=whole)
    text = whole[front.end() :]
    try:
        data = parse_yaml("\n" * whole.count("\n", 0, front.start(1)) + front[1])
    except BadRequest as error:
        return Card(
            text=text, problem=f"the metadata at the top of README.md cannot be read: {error.message}"
        )
    if data is not None and not isinstance(data, dict):
        return Card(text=text, problem="the metadata at the top of README.md are not `key: value` lines.")
    return Card(data=data or {}, text=text)


def text_of(data: Mapping[str, Any], key: str) -> str | None:
    """One value, as text. The first one, where there are several."""
    return next(iter(texts_of(data, key)), None)


def texts_of(data: Mapping[str, Any], key: str) -> list[str]:
    """The values of a key as texts that can be tags: one line each, neither empty nor long."""
    value = data.get(key)
    each = value if isinstance(value, list) else [value]
    found = [text for one in each[:MOST_TAGS] if (text := _text(one)) and not _CONTROL.search(text)]
    return [text for text in found if len(text) <= LONGEST_TAG]


def languages(data: Mapping[str, Any]) -> list[str]:
    """The languages. To YAML, Norwegian (`no`) is a boolean."""
    value = data.get("language", data.get("languages"))
    each = value if isinstance(value, list) else [value]
    return texts_of({"language": ["no" if one is False else one for one in each]}, "language")


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()
