"""The parts of the measurement of lists that decide: the records, the queries, the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from hub_app import Server
from lanza.database import Database
from lanza.hub.records import Posting, Repo, RepoTag
from lanza.server.app import application
from lanza.server.folder import DataFolder, open_hub
from lanza.server.settings import ServerSettings


def test_the_same_seed_writes_the_same_records(bench: Any, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        database = Database(f"sqlite:///{tmp_path / name}.db")
        database.migrate()
        bench("hub.catalogue").fill(database, 60)
        with database.reading() as session:
            tags = session.execute(
                select(RepoTag.repo_id, RepoTag.tag).order_by(RepoTag.repo_id, RepoTag.tag)
            )
            keys = session.scalars(select(Repo.key).order_by(Repo.id)).all()
            found.append((keys, [tuple(row) for row in tags]))
            assert session.scalar(select(func.count()).select_from(Posting))
        database.close()
    assert found[0] == found[1]
    assert len(set(found[0][0])) == 60


def test_the_server_knows_every_query(bench: Any, tmp_path: Path) -> None:
    settings = ServerSettings(data=tmp_path, upstream=None)
    listing = bench("hub.listing")
    counts = {}
    with DataFolder(path=tmp_path).held():
        hub = open_hub(settings)
        bench("hub.catalogue").fill(hub.database, 60)
        server = Server(app=application(hub, settings, {}), hub=hub)
        for name, query in listing.QUERIES.items():
            answer = server.ask(listing.address(query))
            assert answer.status == 200, (name, answer.text)
            counts[name] = len(answer.json)
        hub.database.close()
    assert counts["everything"] > counts["a common tag"] > counts["three common tags"]
    assert counts["no such tag"] == counts["a range of none"] == 0


def test_the_table_has_the_medians_and_the_spread(bench: Any) -> None:
    it = {"milliseconds": [2.0, 5.0], "listed": [3, 100], "ratio": 2.5, "least": 2.1, "most": 2.75}
    found = {"sizes": [100, 100_000], "database": "SQLite", "queries": {"a tag": it}}
    assert bench("hub.report").listing(found) == [
        "| SQLite | 100, ms | 100,000, ms | ratio |",
        "| --- | --- | --- | --- |",
        "| a tag | 2.00 (of 3) | 5.00 (of 100) | 2.50 (2.10–2.75) |",
    ]
