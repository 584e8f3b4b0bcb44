"""A server's data folder for commands that work on it directly, while the server runs or not.

Nothing is migrated, emptied or made here: that is for `lanza up` alone, which holds the folder's lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lanza.database import Database
    from lanza.hub.hub import Hub

DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="LANZA_DATA", help="The server's data folder; else LANZA_HOME/server."),
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", envvar="LANZA_DATABASE", help="As it was given to `lanza up`.")
]
StorageOption = Annotated[
    str | None, typer.Option("--storage", envvar="LANZA_STORAGE", help="As it was given to `lanza up`.")
]


def data_folder(given: Path | None) -> Path:
    """The folder that `lanza up` takes when it is given the same."""
    from lanza.settings import Settings

    return (given or Settings.read().home / "server").expanduser().absolute()


@contextmanager
def told() -> Iterator[None]:
    """What the system refuses is said in one line."""
    import errno

    from lanza.errors import StorageFull, UsageError

    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"the disk is full{where}: make room, and begin again.") from error
        raise UsageError(f"{error.strerror or error}{where}.") from error


def amount(size: int) -> str:
    """Bytes, as people say them."""
    from rich.filesize import decimal

    return str(decimal(size))


@contextmanager
def opened(data: Path, database: str | None, storage: str | None) -> Iterator[Hub]:
    """The Hub in a data folder. UsageError when there is none, or this code is older or newer than it."""
    from lanza.auth.signing import Signer, load_key
    from lanza.database import Database
    from lanza.errors import UsageError
    from lanza.hub.blobs import BlobStore
    from lanza.hub.git import GitStore
    from lanza.hub.hub import Hub
    from lanza.server.folder import DataFolder

    folder = DataFolder(path=data)
    records = data / "lanza.db"
    if not folder.key.is_file() or not (database or records.is_file()):
        raise UsageError(f"{data} is no data folder of `lanza up`: name it with --data.")
    opened = Database(database or folder.database)
    try:
        _check_schema(opened)
        yield Hub(
            database=opened,
            git=GitStore(folder.git),
            blobs=BlobStore.open(storage or str(data), folder.scratch),
            signer=Signer(load_key(folder.key)),
        )
    finally:
        opened.close()


def _check_schema(database: Database) -> None:
    from sqlalchemy.exc import DBAPIError

    from lanza.database import schema_of, schemas
    from lanza.errors import Unavailable, UsageError

    try:
        with database.engine.connect() as connection:
            present = schema_of(connection)
    except DBAPIError as error:
        raise Unavailable(f"the database cannot be read: {' '.join(str(error.orig).split())}") from error
    if present != schemas()[-1]:
        raise UsageError(
            "this Lanza is not the one that has brought the database up to date: use the one that "
            "`lanza up` runs with, or start that first."
        )
