"""Asking before what cannot be undone."""

from __future__ import annotations

import sys

import typer


def be_sure(question: str, *, yes: bool) -> None:
    """Go on only after a yes. UsageError where nobody can be asked."""
    from lanza.errors import UsageError

    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone, and nobody is here to be asked: say --yes.")
    typer.confirm(question, abort=True)
