"""`lanza shell`: a shell, or one command, in which Hugging Face's clients talk to this server.

The shell takes this process's place, but where something has to go on beside it: on Windows, and with
`--intercept`, whose proxy lives as long as the shell does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from lanza.cli.context import ServerOption, context


def shell(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="Run this instead of a shell.")
    ] = None,
    intercept: Annotated[
        bool,
        typer.Option("--intercept", help="Answer for the addresses that clients have built in, too."),
    ] = False,
    server: ServerOption = None,
) -> None:
    """Open a shell in which HF_ENDPOINT and the token are set, and old commands still work.

    `huggingface-cli` becomes `hf` there, with the prompts that tutorials show. With --intercept, what goes to
    api.endpoints.huggingface.cloud, api-inference.huggingface.co, router.huggingface.co or api.replicate.com
    from within that shell is answered by this server; all other connections pass unread.
    """
    from lanza.cli.environment import environment_of
    from lanza.settings import Settings

    chosen = context(server)
    environment = environment_of(chosen, Settings.read().home, os.environ)
    words = command or [_own_shell()]
    if not command:
        said = f"lanza: this shell talks to {chosen.url}; `exit` leaves it."
        print(said if chosen.token else f"{said} No token is set: `lanza login URL`.", file=sys.stderr)
    if intercept:
        from lanza.cli.intercept import intercepting

        with intercepting(chosen.url, os.environ) as variables:
            raise typer.Exit(_run_beside(words, environment | variables))
    if sys.platform == "win32":
        raise typer.Exit(_run_beside(words, environment))
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 -- there is no shell in between
    except OSError as error:
        raise _cannot_run(words, error) from error


def _run_beside(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command to its end; Ctrl-C is for it alone. Gives the exit status that a shell would see."""
    program = shutil.which(words[0], path=environment["PATH"]) or words[0]
    # A handler, for a signal that is ignored would be ignored by the command as well.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.Popen([program, *words[1:]], env=dict(environment)).wait()
    except OSError as error:
        raise _cannot_run(words, error) from error
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


def _cannot_run(words: Sequence[str], error: OSError) -> Exception:
    from lanza.errors import UsageError

    return UsageError(f"cannot run {words[0]}: {error.strerror}.")


def _own_shell() -> str:
    if sys.platform == "win32":
        return os.environ.get("COMSPEC", "cmd.exe")
    return os.environ.get("SHELL", "/bin/sh")
