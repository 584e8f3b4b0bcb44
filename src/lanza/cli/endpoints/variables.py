"""Variables and secrets of an endpoint, as options and files give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


def pairs(option: str, given: Iterable[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` alone for what the environment has: so a secret need not be in the command."""
    from lanza.errors import UsageError

    found = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not name:
            raise UsageError(f"{option} wants NAME=VALUE, or NAME for a variable that is set here.")
        if not sign and name not in environment:
            raise UsageError(f"{option} {name}: no variable of that name is set here; write {name}=VALUE.")
        found[name] = value if sign else environment[name]
    return found


def read_file(path: Path) -> dict[str, str]:
    """A .env file: a NAME=VALUE a line, values perhaps in quotes, `#` before comments."""
    from lanza.errors import UsageError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parsed = _LINE.fullmatch(line)
        if parsed is None:
            raise UsageError(f"{path}, line {number}: this is no NAME=VALUE.")
        found[parsed[1]] = _unquoted(parsed[2])
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()
