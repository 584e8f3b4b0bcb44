"""`lanza backup` and `lanza restore`: all that a server keeps, as it is at one moment."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lanza.cli.bar import bar
from lanza.cli.context import JsonOption
from lanza.cli.extras import needs
from lanza.cli.folder import (
    DatabaseOption,
    DataOption,
    StorageOption,
    amount,
    data_folder,
    opened,
    told,
)

if TYPE_CHECKING:
    from lanza.server.copies import Report


def backup(
    target: Annotated[Path, typer.Argument(help="An empty folder, or an earlier backup to renew.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy records, repositories, large files and keys to a folder, as they are at one moment.

    The server may run meanwhile. Exit code 1 when something was damaged or missing, and it is named.
    """
    with needs("server"):
        from lanza.server import copies

    path = data_folder(data)
    with told(), opened(path, database, storage) as hub, bar("Copying", quiet=as_json) as copied:
        report = copies.backup(hub, path, target.expanduser().absolute(), copied=copied)
    _tell(report, f"Saved to {target}", as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="The folder of a backup.")],
    data: DataOption = None,
    database: Annotated[
        str | None,
        typer.Option(envvar="LANZA_DATABASE", help="An empty one for the records; else SQLite in DATA."),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(envvar="LANZA_STORAGE", help="Where large files are to go; else DATA.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data folder of a backup. It must be empty, or not there, and so must the database.

    Exit code 1 when something in the backup is damaged or missing, and it is named.
    """
    with needs("server"):
        from lanza.database import Database
        from lanza.server import copies

    path = data_folder(data)
    with ExitStack() as stack:
        stack.enter_context(told())
        records = None
        if database is not None:
            records = Database(database)
            stack.callback(records.close)
        copied = stack.enter_context(bar("Copying", quiet=as_json))
        report = copies.restore(
            source.expanduser().absolute(), path, database=records, storage=storage, copied=copied
        )
    _tell(report, f"Restored to {path}", as_json=as_json)


def _tell(report: Report, done: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        for problem in report.problems:
            typer.echo(problem)
        large = f"{report.blobs} large files, {amount(report.bytes)}"
        typer.echo(f"{done}: {report.repositories} repositories, {large}.")
    raise typer.Exit(1 if report.problems else 0)
