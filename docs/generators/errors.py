"""errors.md: the tree of errors, with what each means."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from generators.cell import cell
from lanza.errors import LanzaError

INTRODUCTION = """\
# Errors

Every error of a replica is JSON, `{"error", "code", "request_id"}`: `error` says what to change, `code` is
stable, and the server's log has the rest under `request_id` (the answer's `X-Request-Id`; send that header
and yours is taken). `Retry-After` comes with what is worth trying again. On the command line the same errors
are one line, and the exit code is the one given here.

| code | status | exit | |
|---|---|---|---|"""


def lines() -> Iterator[str]:
    yield INTRODUCTION
    yield from _rows(LanzaError, 0)


def _rows(error: type[LanzaError], depth: int) -> Iterator[str]:
    indent = "&emsp;" * depth
    meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].replace("``", "`")
    yield f"| {indent}`{error.code}` | {error.status} | {error.exit_code} | {cell(meaning)} |"
    for inner in error.__subclasses__():
        yield from _rows(inner, depth + 1)
