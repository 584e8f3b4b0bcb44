"""`lanza shell`: a shell, or one command, in which Hugging Face's clients talk to this server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Annotated

import typer

from lanza.cli.context import ServerOption, context


def shell(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Run this instead of a shell.")
    ] = None,
    server: ServerOption = None,
) -> None:
    """Open a shell in which HF_ENDPOINT and the token are set, and old commands still work.

    `huggingface-cli` becomes `hf` there, with the prompts that tutorials show.
    """
    from lanza.cli.environment import environment_of
    from lanza.errors import UsageError
    from lanza.settings import Settings

    chosen = context(server)
    environment = environment_of(chosen, Settings.read().home, os.environ)
    words = command or [_own_shell()]
    if not command:
        said = f"lanza: this shell talks to {chosen.url}; `exit` leaves it."
        print(said if chosen.token else f"{said} No token is set: `lanza login URL`.", file=sys.stderr)
    try:
        if sys.platform == "win32":
            program = shutil.which(words[0], path=environment["PATH"]) or words[0]
            ended = subprocess.run([program, *words[1:]], env=environment, check=False)
            raise typer.Exit(ended.returncode)
        os.execvpe(words[0], words, environment)  # noqa: S606 -- there is no shell in between
    except OSError as error:
        raise UsageError(f"cannot run {words[0]}: {error.strerror}.") from error


def _own_shell() -> str:
    if sys.platform == "win32":
        return os.environ.get("COMSPEC", "cmd.exe")
    return os.environ.get("SHELL", "/bin/sh")
