"""The command line: one module per verb, and nothing heavy until a verb runs.

Errors of the tree are printed in one line with what to do next; the exit code is the error's.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lanza import __version__
from lanza.cli.convert import convert
from lanza.cli.doctor import doctor
from lanza.cli.init import init
from lanza.cli.serve import serve
from lanza.errors import LanzaError

app = typer.Typer(
    name="lanza",
    help="From a fine-tuned model folder to an API that you own.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor)
app.command()(serve)
app.command()(convert)
app.add_typer(init, name="init", help="Write a starting file for you to edit.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lanza {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """From a fine-tuned model folder to an API that you own."""


def main() -> None:
    """The `lanza` command."""
    try:
        app()
    except LanzaError as error:
        print(f"lanza: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
