"""JSON and YAML out of repositories: whoever pushed them, reading them is bounded and gives plain values.

Plain is what every database and every JSON parser takes: no NaN, no NUL, no half of a surrogate pair, no
number that is wider than 64 bits, no dates, nothing nested deeper than `DEEPEST`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import yaml

from lanza.errors import BadRequest

DEEPEST: Final = 64
LONGEST_YAML: Final = 2**19

_WIDEST: Final = 2**63


def parse_json(content: bytes) -> Any:
    """The value of a JSON document, made plain. BadRequest says where it is wrong."""
    try:
        return plain(json.loads(content.decode("utf-8-sig")))
    except RecursionError:
        raise BadRequest("it is nested too deep to be read.") from None
    except ValueError as error:  # also of UTF-8, and of numbers with thousands of digits
        raise BadRequest(f"it is not valid JSON: {error}.") from error


def json_object(content: bytes | None) -> Mapping[str, Any]:
    """The JSON object in `content`; empty when it is absent or anything else."""
    if content is None:
        return {}
    try:
        value = parse_json(content)
    except BadRequest:
        return {}
    return value if isinstance(value, dict) else {}


def parse_yaml(text: str) -> Any:
    """The value of a YAML document, made plain. BadRequest says where it is wrong.

    Aliases are refused: with them a few lines can stand for more than any memory holds.
    """
    if len(text) > LONGEST_YAML:
        raise BadRequest(f"it has more than {LONGEST_YAML:,} characters.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(text, loader)
        return plain(yaml.load(text, Loader=loader))  # noqa: S506 -- both loaders are safe ones
    except yaml.MarkedYAMLError as error:
        raise BadRequest(f"{_line(error.problem_mark)}it is not valid YAML: {error.problem}.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that cannot be
        raise BadRequest(f"it is not valid YAML: {error}.") from error


def _line(mark: Any) -> str:
    return f"at line {mark.line + 1} " if mark else ""


def _check_events(text: str, loader: Any) -> None:
    """Depth and aliases, seen before anything is built: building recurses, parsing does not."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise BadRequest(f"{_line(event.start_mark)}it uses an alias (*{event.anchor}): write it out.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise BadRequest(f"it is nested deeper than {DEEPEST} levels.")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as JSON has it. What has no place there is told as text, or is None."""
    if isinstance(value, dict | list | set):
        return _plain_all(value, depth + 1) if depth < DEEPEST else None
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and not -_WIDEST <= value < _WIDEST:
        return None
    return value if isinstance(value, int | float) else None


def _plain_all(values: Any, depth: int) -> Any:
    if isinstance(values, dict):
        return {str(plain(key)): plain(each, depth) for key, each in values.items()}
    return [plain(each, depth) for each in values]
