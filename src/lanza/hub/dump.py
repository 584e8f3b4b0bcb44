"""All records as one SQLite file, wherever they are kept, and back into a database of either kind.

The model: the file has the schema that this code wants. SQLite is copied page by page; from PostgreSQL every
table is copied row by row within one transaction that sees one state and holds off writers. The highest
numbers that were ever given go along, as no number of a removed account or repository may be given again.
Tables are those whose records were imported: who has others than the Hub's imports them (`server/copies.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from lanza.auth import records as _accounts
from lanza.database import Base, Database
from lanza.errors import Unavailable, UsageError
from lanza.hub import records as _repositories  # noqa: F401 -- its tables

LOCK_SECONDS: Final = 30
ROWS: Final = 1000
"""Rows that are copied at a time."""

Write = Callable[[Path], None]


@contextmanager
def held(database: Database) -> Iterator[Write]:
    """Keep everybody from writing; they wait. Gives what writes the records, as they are now, to a new file.

    Unavailable when somebody else writes for too long.
    """
    with _sqlite_held(database) if database.is_sqlite else _postgres_held(database) as write:
        yield write


def load(path: Path, database: Database) -> None:
    """Put the records of a file into a database that has none, all or nothing. UsageError if it has some."""
    source = Database(f"sqlite:///{path}")
    try:
        source.migrate()  # the file may be of an older Lanza
        database.migrate()
        with source.engine.connect() as reading, database.writing() as session:
            _check_no_rows(session.connection())
            _copy_tables(reading, session.connection())
    finally:
        source.close()


def check_empty(database: Database) -> None:
    """UsageError when a database has records already, Unavailable when it cannot be read."""
    try:
        with database.engine.connect() as connection:
            if connection.dialect.has_table(connection, _accounts.Account.__tablename__):
                _check_no_rows(connection)
    except DBAPIError as error:
        raise Unavailable(f"the database cannot be read: {' '.join(str(error.orig).split())}") from error


def _check_no_rows(connection: Connection) -> None:
    if any(connection.execute(select(table).limit(1)).first() for table in Base.metadata.sorted_tables):
        raise UsageError("the database has records already: name a new one, and these stay as they are.")


@contextmanager
def _sqlite_held(database: Database) -> Iterator[Write]:
    path = Path(database.url.database or "")
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise _busy(error) from error
        try:
            yield lambda target: _copy_pages(path, target)
        finally:
            connection.execute("ROLLBACK")


def _copy_pages(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as copy:
        reading.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise UsageError(f"the database {source} is damaged ({found}): restore an earlier backup.")


@contextmanager
def _postgres_held(database: Database) -> Iterator[Write]:
    """What is read after the tables are locked is one state, and the last one."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        try:
            connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        except OperationalError as error:
            raise _busy(error.orig) from error
        yield lambda target: _copy_rows(connection, target)


def _copy_rows(connection: Connection, target: Path) -> None:
    copy = Database(f"sqlite:///{target}")
    try:
        copy.migrate()
        with copy.writing() as session:
            _copy_tables(connection, session.connection())
    finally:
        copy.close()
    with closing(sqlite3.connect(target)) as file:  # one file, without a log beside it
        file.execute("PRAGMA journal_mode=DELETE")


def _copy_tables(source: Connection, target: Connection) -> None:
    for table in Base.metadata.sorted_tables:
        rows = source.execution_options(yield_per=ROWS).execute(select(table))
        for some in rows.mappings().partitions():
            target.execute(table.insert(), [dict(row) for row in some])
    for table in _counted():
        highest = source.scalar(select(func.max(table.c.id))) or 0
        _set_number(target, table.name, max(highest, _number(source, table.name)))


def _counted() -> Iterator[Table]:
    """The tables whose `id` is counted up by the database."""
    for table in Base.metadata.sorted_tables:
        if table.autoincrement_column is not None:
            yield table


def _number(connection: Connection, table: str) -> int:
    """The highest number that was given in a table, 0 for none."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(
            text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table}
        )
        return int(found.scalar() or 0)
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table, "id")))
    last = text(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")  # noqa: S608
    return int(connection.scalar(last) or 0)


def _set_number(connection: Connection, table: str, number: int) -> None:
    if number == 0:
        return
    given = {"name": table, "number": number}
    if connection.dialect.name == "sqlite":  # what does not count up by itself has no use for it
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), given)
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), given)
    else:
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :number)"), given)


def _busy(error: BaseException | None) -> Unavailable:
    reason = " ".join(str(error).split())
    return Unavailable(f"the database is busy ({reason}): try again.", retry_after=60)
