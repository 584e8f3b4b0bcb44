"""`lanza init handler DIR`: write a starting handler.py for the model in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

init = typer.Typer(no_args_is_help=True)


@init.callback()
def _verbs() -> None:
    """Write a starting file for you to edit."""


@init.command()
def handler(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a handler.py that is there.")] = False,
) -> None:
    """Write a handler.py for the model in DIR: how it is loaded, and how it answers."""
    from lanza.engines.handler.starter import init_handler

    path = init_handler(folder, force=force)
    typer.echo(f"Wrote {path}. Try it: lanza serve {folder}")
