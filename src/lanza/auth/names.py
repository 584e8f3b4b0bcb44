"""What an account may be called. Its name is a namespace, and so the first part of addresses."""

from __future__ import annotations

import re
from typing import Final

from lanza.errors import BadRequest

RESERVED: Final = frozenset(
    """
    api assets cas console datasets docs endpoints favicon.ico healthz join login logout metrics models
    new oauth openapi.json organizations readyz replicate robots.txt settings spaces static tokens v1 v2
    """.split()  # noqa: SIM905 -- so many words read better
)
"""Names that are routes, and so can be no namespace."""

LONGEST: Final = 96

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def check_namespace(name: str) -> str:
    """`name`, if an account may have it. BadRequest."""
    if name.lower() in RESERVED:
        raise BadRequest(f"the name {name!r} is an address of this server: choose another.")
    return check_name(name, "an account")


def check_name(name: str, what: str) -> str:
    """`name`, if it may be a part of a repository's id. BadRequest says so of `what`."""
    if len(name) > LONGEST:
        raise BadRequest(f"the name of {what} has at most {LONGEST} characters: this one has {len(name)}.")
    if not _NAME.fullmatch(name) or "--" in name or ".." in name:
        raise BadRequest(
            f"{name!r} cannot be the name of {what}: use letters, digits, '-', '_' and '.', beginning and "
            "ending with a letter or digit, without '--' or '..'."
        )
    return name
