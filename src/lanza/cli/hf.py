"""`lanza hf ...`: Hugging Face's own command, talking to the server in use, endpoints included."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from lanza.cli.context import ServerOption, context


def hf(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="...", help="What `hf` is given.")] = None,
    server: ServerOption = None,
) -> None:
    """Run `hf` against this server: `lanza hf endpoints ls`, `lanza hf upload ...`."""
    from lanza.cli.environment import environment_of
    from lanza.settings import Settings

    environment = environment_of(context(server), Settings.read().home, os.environ)
    command = [sys.executable, "-m", "lanza.cli.shims.hf", *(arguments or [])]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)
