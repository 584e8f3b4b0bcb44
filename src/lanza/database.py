"""The records of the server: one SQL database, SQLite in a file by default, PostgreSQL by URL.

Sessions are short and synchronous: routes that need one run on a thread, never on the event loop. `reading`
sees a snapshot; `writing` takes SQLite's write lock at once, so that no two of them deadlock half-way, and
commits when its block ends without an error. The schema is made by migrations only (`migrations/`), which run
at start; a database that a newer Lanza has written is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Connection,
    DateTime,
    Double,
    Engine,
    String,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Session

from lanza.errors import UsageError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_SECONDS: Final = 30

_QUIET: Final = {"hide_parameters": True}  # values, hashes of tokens among them, stay out of logs


class Moment(TypeDecorator[datetime]):
    """A point in time, always with its zone: SQLite forgets it, so it is UTC there by agreement."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The root of all records. Packages define theirs beside the code that uses them (`records.py`)."""

    type_annotation_map = {datetime: Moment, str: String, float: Double}  # noqa: RUF012 -- SQLAlchemy's own form


class Database:
    """Opens sessions. `url` is SQLAlchemy's: `sqlite:////data/lanza.db`, `postgresql+psycopg://...`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(url) if self.is_sqlite else create_engine(url, **_QUIET, pool_pre_ping=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self, *, patience: float = BUSY_SECONDS) -> Iterator[Session]:
        """A session that commits when the block ends, or changes nothing when it raises.

        `patience` is how many seconds SQLite's lock is waited for, while others write.
        """
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.is_sqlite:
                session.connection(execution_options={"lanza_write": patience})
            yield session

    def migrate(self) -> None:
        """Bring the schema to what this code wants. UsageError when the database is newer than the code."""
        known = schemas()
        with self.engine.begin() as connection:
            present = schema_of(connection)
            if present == known[-1]:
                return  # as at most starts; what follows takes a while to import
            if present is not None and present not in known:
                raise UsageError(
                    f"the database was written by a newer Lanza (its schema is {present}): update Lanza, "
                    "or restore a backup of before."
                )
            _upgrade(connection)

    def close(self) -> None:
        self.engine.dispose()


def insert_into(session: Session, record: type[Base]) -> Any:
    """An INSERT that may go on with `on_conflict_do_update`, in the words of this database."""
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(record)


def now() -> datetime:
    return datetime.now(UTC)


def schemas() -> list[str]:
    """All schemas that there were, this code's last: files of migrations begin with their names."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def schema_of(connection: Connection) -> str | None:
    """The schema that a database has, None for none: where Alembic keeps it."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _sqlite(url: str) -> Engine:
    # As many connections as there are threads: who writes may wait long, and must not keep out who reads.
    engine = create_engine(url, **_QUIET, connect_args={"timeout": BUSY_SECONDS}, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        patience = connection.get_execution_options().get("lanza_write")
        if patience is None:
            connection.exec_driver_sql("BEGIN")
            return
        if connection.info.get("patience", BUSY_SECONDS) != patience:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * patience)}")
            connection.info["patience"] = patience
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
