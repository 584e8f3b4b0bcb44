"""The command line: one module per verb, and nothing heavy until a verb runs.

Errors of the tree are printed in one line with what to do next; the exit code is the error's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import typer

from lanza import __version__
from lanza.cli.audit import audit
from lanza.cli.backup import backup, restore
from lanza.cli.convert import convert
from lanza.cli.doctor import doctor
from lanza.cli.endpoints.deploy import deploy
from lanza.cli.endpoints.estimate import estimate
from lanza.cli.endpoints.logs import costs, logs
from lanza.cli.endpoints.manage import hardware, open_, pause, ps, resume, rollback, scale, update
from lanza.cli.endpoints.show import show
from lanza.cli.environment import env
from lanza.cli.hf import hf
from lanza.cli.hub import hub
from lanza.cli.init import init
from lanza.cli.login import login, logout
from lanza.cli.orgs import orgs
from lanza.cli.policy import policy
from lanza.cli.pull import pull
from lanza.cli.push import push
from lanza.cli.repos import ls, rm
from lanza.cli.serve import serve
from lanza.cli.shell import shell
from lanza.cli.tokens import tokens
from lanza.cli.up import up
from lanza.cli.users import users
from lanza.errors import LanzaError

app = typer.Typer(
    name="lanza",
    help="From a fine-tuned model folder to an API that you own.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MODEL: Final = "One model, on this machine"
HUB: Final = "The server, and what it holds"
ENDPOINTS: Final = "Endpoints: models that answer"
ACCESS: Final = "Who you are there"
VERBS: Final[Mapping[str, Sequence[Callable[..., None]]]] = {
    MODEL: (doctor, serve, convert),
    HUB: (up, push, pull, ls, rm, policy, backup, restore),
    ENDPOINTS: (deploy, estimate, ps, show, logs, costs, scale, update, rollback, pause, resume, hardware),
    ACCESS: (login, logout, env, audit),
}

for _panel, _verbs in VERBS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)
app.add_typer(init, name="init", help="Write a starting file for you to edit.", rich_help_panel=MODEL)
app.command(name="open", rich_help_panel=ENDPOINTS)(open_)
# What follows the command is the command's own: `lanza shell hf upload --help`.
OTHERS: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}
app.command(rich_help_panel=ACCESS, context_settings=OTHERS)(shell)
app.command(rich_help_panel=ACCESS, context_settings=OTHERS)(hf)
app.add_typer(hub, name="hub", help="Look after what the server keeps.", rich_help_panel=HUB)
app.add_typer(tokens, name="tokens", help="Make, list and revoke tokens.", rich_help_panel=ACCESS)
app.add_typer(users, name="users", help="Add, list, change and remove users.", rich_help_panel=ACCESS)
app.add_typer(orgs, name="orgs", help="Organizations, and who belongs to them.", rich_help_panel=ACCESS)


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
