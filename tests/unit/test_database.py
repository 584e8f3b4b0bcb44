"""The database: its schema is what the code means, and its sessions are what they say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from lanza.auth.principal import ANONYMOUS
from lanza.auth.records import Account, Membership
from lanza.database import MIGRATIONS, Base, Database, now, schema_of, schemas
from lanza.endpoints import records as endpoints
from lanza.errors import UsageError
from lanza.hub import postings, records, search
from lanza.hub.names import Kind

OLD_REPOSITORIES = ((1, "public", "", 7_000_000), (4097, "private", "auto", None))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'lanza.db'}")
    made.migrate()
    yield made
    made.close()


def upgrade(database: Database, revision: str) -> None:
    """Bring an empty database to the schema of an earlier version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def account(name: str, created_at: datetime | None = None) -> Account:
    return Account(key=name, name=name, kind="user", created_at=created_at or now())


def test_the_migrations_make_what_the_records_mean(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        tables = set(inspect(connection).get_table_names())
    assert tables == {*Base.metadata.tables, "alembic_version"}
    assert {records.Repo.__tablename__, endpoints.Endpoint.__tablename__} <= tables


def test_what_goes_with_what_is_known_to_the_database(database: Database) -> None:
    """The comparison above does not look at foreign keys' deletion."""
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        for name, table in Base.metadata.tables.items():
            meant = {(key.parent.name, key.target_fullname, key.ondelete) for key in table.foreign_keys}
            found = {
                (
                    key["constrained_columns"][0],
                    f"{key['referred_table']}.{key['referred_columns'][0]}",
                    key["options"].get("ondelete"),
                )
                for key in inspector.get_foreign_keys(name)
            }
            assert found == meant, name


def test_the_files_of_migrations_say_what_alembic_says(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    there = [it.revision for it in ScriptDirectory.from_config(config).walk_revisions()]
    assert schemas() == there[::-1]
    with database.engine.connect() as connection:
        assert schema_of(connection) == there[0]


def test_migrating_twice_changes_nothing(database: Database) -> None:
    with database.writing() as session:
        session.add(account("ana"))
    database.migrate()
    with database.reading() as session:
        assert session.scalars(select(Account.name)).all() == ["ana"]


def test_repositories_of_before_there_were_postings_are_found(tmp_path: Path) -> None:
    """A database of schema 0001, with what it may hold, brought to today's."""
    made = Database(f"sqlite:///{tmp_path / 'old.db'}")
    upgrade(made, "0001")
    with made.engine.begin() as connection:
        assert "postings" not in inspect(connection).get_table_names()
        connection.execute(
            text(
                "INSERT INTO accounts (id, key, name, kind, full_name, admin, created_at) "
                "VALUES (1, 'ana', 'Ana', 'user', '', 0, '2026-01-01 00:00:00')"
            )
        )
        for number, visibility, gated, parameters in OLD_REPOSITORIES:
            row = {"id": number, "visibility": visibility, "gated": gated, "parameters": parameters}
            connection.execute(
                text(
                    "INSERT INTO repos (id, kind, key, namespace, name, owner_id, visibility, gated, "
                    "settings, created_at, updated_at, downloads, likes, parameters, stored_bytes, facts, "
                    "findings) VALUES (:id, 'model', 'ana/becas-' || :id, 'Ana', 'Becas-' || :id, 1, "
                    ":visibility, :gated, '{}', '2026-01-01 00:00:00', '2026-01-01 00:00:00', 0, 0, "
                    ":parameters, 0, '{}', '[]')"
                ),
                row,
            )
            connection.execute(text("INSERT INTO repo_tags (repo_id, tag) VALUES (:id, 'es')"), row)
    made.migrate()
    with made.writing() as session:
        query = search.Query(kind=Kind.MODEL, words=["cas-"], tags=["es"])
        assert [it.name for it in search.find(session, ANONYMOUS, query).repos] == ["Becas-1"]
        sized = search.Query(kind=Kind.MODEL, parameters=(7_000_000, None), author="ana", gated=False)
        assert [it.name for it in search.find(session, ANONYMOUS, sized).repos] == ["Becas-1"]
        rows = [(it.kind, it.term, it.block, it.bits) for it in session.scalars(select(records.Posting))]
        assert {block for _, _, block, _ in rows} == {0, 1}
        session.expunge_all()
        postings.rebuild(session)
        assert rows == [
            (it.kind, it.term, it.block, it.bits) for it in session.scalars(select(records.Posting))
        ]
    made.close()


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match=r"newer Lanza .*9999.*update Lanza"):
        database.migrate()
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_a_block_that_raises_writes_nothing(database: Database) -> None:
    def fail() -> None:
        with database.writing() as session:
            session.add(account("ana"))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as session:
        assert session.scalars(select(Account)).all() == []


def test_reading_sees_one_state(database: Database) -> None:
    with database.reading() as session:
        assert session.scalars(select(Account.name)).all() == []
        with database.writing() as other:
            other.add(account("ana"))
        assert session.scalars(select(Account.name)).all() == []
    with database.reading() as session:
        assert session.scalars(select(Account.name)).all() == ["ana"]


def test_two_that_write_wait_for_each_other(database: Database) -> None:
    def write(name: str) -> None:
        with database.writing() as session:
            seen = len(session.scalars(select(Account)).all())
            session.add(account(f"{name}-{seen}"))

    threads = [threading.Thread(target=write, args=(f"user{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        seen = sorted(int(name.partition("-")[2]) for name in session.scalars(select(Account.name)))
    assert seen == list(range(8))


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(Membership(org_id=1, user_id=2, role="read"))


def test_moments_keep_their_meaning_in_utc(database: Database) -> None:
    madrid = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with database.writing() as session:
        session.add(account("ana", madrid))
    with database.reading() as session:
        found = session.scalars(select(Account.created_at)).one()
    assert found == madrid
    assert found.tzinfo is UTC
