"""cli.md: the commands, their options and defaults, as Typer knows them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from generators.cell import cell
from lanza.cli import app

INTRODUCTION = """\
# The command line

Errors are one line on standard error. Exit codes: 0 done, 1 failed, 2 asked for what cannot be
(`lanza doctor` has its own). `lanza --version` prints the version, `lanza COMMAND --help` what is here.
Results that are kept (converted models, the environments of handlers) lie below `LANZA_HOME`; unset, that
is the folder which your system has for the data of programs."""


def lines() -> Iterator[str]:
    yield INTRODUCTION
    yield from _commands(typer.main.get_command(app), "lanza")


def _commands(command: Any, name: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        for word, one in sorted(inner.items()):
            yield from _commands(one, f"{name} {word}")
        return
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    words = [_metavar(argument) for argument in arguments]
    yield from ("", f"## `{' '.join([name, *words, '[OPTIONS]'])}`", "")
    yield inspect.cleandoc(command.help)
    yield from ("", "| | default | |", "|---|---|---|")
    for parameter in command.params:
        yield f"| {_names(parameter)} | {_default(parameter)} | {cell(parameter.help or '')} |"


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    return f"{names} (or `{parameter.envvar}`)" if parameter.envvar else names


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False) else f"`{parameter.default}`"
