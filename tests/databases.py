"""New databases for tests: migrated once in each process, then copied, for migrating takes a while."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lanza.database import Database

NAME = "lanza.db"
"""Of the file, as a data folder has it."""


def place(folder: Path) -> Path:
    """An empty database of the newest schema in `folder`, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(Path(_template().name) / NAME, folder / NAME))


def new_database(folder: Path) -> Database:
    """The same, opened."""
    return Database(f"sqlite:///{place(folder)}")


@cache
def _template() -> TemporaryDirectory[str]:
    """A folder with a migrated database, which goes when this process ends."""
    folder = TemporaryDirectory(prefix="lanza-tests-")
    database = Database(f"sqlite:///{Path(folder.name) / NAME}")
    database.migrate()
    database.close()  # the last connection that closes brings all into the one file
    return folder
