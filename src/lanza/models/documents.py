"""The small documents of a model folder: its JSON files, and the front matter of its card.

The card is YAML, of which only plain ``key: value`` lines at the left margin are read, and lists of
such values: that is how cards are written, and it needs no YAML parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lanza.errors import ModelError

LARGEST_JSON: Final = 256 * 2**20
_CARD_BYTES: Final = 256 * 2**10
_PAIR: Final = re.compile(r"^([A-Za-z_][\w-]*)[ \t]*:(?:[ \t]+(.*?))?[ \t]*$")
_ITEM: Final = re.compile(r"^[ \t]*-[ \t]+(.*?)[ \t]*$")

Json = Mapping[str, Any]


def read_json(path: Path) -> Json:
    """The JSON object in ``path``. Raises ModelError with the line where it breaks."""
    value = parse_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} holds a JSON {_kind(value)}, and an object is expected.")
    return value


def parse_json(path: Path) -> object:
    """The JSON value in ``path``, of whatever kind. Raises ModelError with the line where it breaks."""
    try:
        if not path.is_file():  # a pipe or a device has no end
            raise ModelError(f"{path.name} is no regular file: put the document itself there.")
        if path.stat().st_size > LARGEST_JSON:
            raise ModelError(f"{path.name} is over {LARGEST_JSON >> 20} MiB: no such document should be.")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read ({error.strerror}): check its permissions.") from error
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{path.name} is not UTF-8 text (byte {error.start}): save it again as UTF-8."
        ) from error
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path.name} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise ModelError(f"{path.name} is nested too deep to be read.") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise ModelError(f"{path.name} holds a number that cannot be read.") from error


def read_json_or_empty(path: Path) -> Json:
    """The same for a document that one can do without: absent or broken, it is empty."""
    try:
        return read_json(path)
    except ModelError:
        return {}


def read_card(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The front matter of README.md: each top-level key with its value or values, as text."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            text = file.read(_CARD_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return {}
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}
    card: dict[str, tuple[str, ...]] = {}
    key = ""
    for line in lines[1:]:
        if line.rstrip() in {"---", "..."}:
            return card
        if pair := _PAIR.match(line):
            key = pair[1]
            value = _scalar(pair[2] or "")
            card[key] = (value,) if value else ()
        elif key and (item := _ITEM.match(line)) and (value := _scalar(item[1])):
            card[key] = (*card[key], value)
    return {}  # front matter that never ends is no front matter


def _scalar(text: str) -> str:
    """A plain or quoted YAML scalar, without its comment."""
    if text[:1] in {'"', "'"}:
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else ""
    if text.startswith("#"):
        return ""
    value = text.split(" #", 1)[0].strip()
    return "" if value in {"null", "~"} else value


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
