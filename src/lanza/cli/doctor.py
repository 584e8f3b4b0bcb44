"""`lanza doctor MODEL`: say what a folder is, what would serve it, and what is wrong with it.

It only shows what `lanza.models.doctor` found. With --json it prints one JSON object, whatever is broken.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lanza.models.doctor import Report


def doctor(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Say what a model folder is, which engine would serve it, and what is wrong with it.

    Exit 0: servable. 1: servable, with warnings. 2: not servable.
    """
    from lanza.models.doctor import examine

    report = examine(Path(os.path.expanduser(model)))  # noqa: PTH111 (pathlib raises on an unknown ~user)
    if as_json:
        typer.echo(_as_json(report))
    else:
        from rich.console import Console

        from lanza.cli.doctor_page import page

        Console(highlight=False).print(page(report))
    raise typer.Exit(report.exit_code)


def _as_json(report: Report) -> str:
    import json

    from lanza.models.report import as_dict

    return json.dumps(as_dict(report), indent=2)
