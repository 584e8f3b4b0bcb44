"""Rows for people, as a table, or for programs, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

WIDEST: Final = 4096


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print `rows`, all with the same keys. Values are shown as plain text: names are anybody's."""
    if as_json:
        typer.echo(json.dumps(list(rows), indent=2))
        return
    if not rows:
        typer.echo("Nothing here.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lanza.models.report import readable

    table = Table.grid(padding=(0, 2))
    for _ in rows[0]:
        table.add_column(overflow="fold")
    table.add_row(*(Text(name.upper(), style="dim") for name in rows[0]))
    for row in rows:
        table.add_row(*(Text(readable(_words(value))) for value in row.values()))
    width = None if sys.stdout.isatty() else WIDEST  # what programs read is never folded
    Console(highlight=False, width=width).print(table)


def _words(value: Any) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return "yes"
        case list():
            return ", ".join(_words(one) for one in value)
    return str(value)
