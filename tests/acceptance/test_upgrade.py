"""A server of today on the database of an earlier one, and on a copy of another: real processes and data."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from huggingface_hub import HfApi, hf_hub_download
from sqlalchemy import inspect, select

from hubs import Hub, User, hub
from lanza.auth.signing import load_key
from lanza.database import MIGRATIONS, Database
from lanza.endpoints import store
from lanza.endpoints.records import Lease, Replica, WorkerLoad
from lanza.endpoints.secrets import Vault
from serving import ROOT

CONFIG = {"model_type": "bert", "architectures": ["BertForQuestionAnswering"]}
FAKE = (str(ROOT / "tests" / "fake_server.py"),)


def lanza(*arguments: Any, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lanza", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def push(ana: User) -> bytes:
    """A model with a file in git and a large one, a tag, and its downloads' page; gives the large file."""
    api, large = ana.api(), os.urandom(300_000)
    api.create_repo("ana/becas")
    for path, content in (("config.json", json.dumps(CONFIG).encode()), ("model.bin", large)):
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="ana/becas")
    api.create_tag("ana/becas", tag="v1")
    return large


def bring_back(path: Path, revision: str) -> None:
    """Make the database what a server of an earlier schema would have kept of the same."""
    old = path.with_suffix(".old")
    made = Database(f"sqlite:///{old}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with made.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        columns = {
            name: [it["name"] for it in inspect(connection).get_columns(name)]
            for name in inspect(connection).get_table_names()
            if name != "alembic_version"
        }
    made.close()
    with closing(sqlite3.connect(old, isolation_level=None)) as copy:
        copy.execute("ATTACH ? AS today", (str(path),))
        for table, names in columns.items():
            known = {row[1] for row in copy.execute(f"PRAGMA today.table_info({table})")}
            both = ", ".join(name for name in names if name in known)
            copy.execute(f"INSERT INTO {table} ({both}) SELECT {both} FROM today.{table}")
        assert copy.execute("SELECT count(*) FROM repos").fetchone() == (1,)
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    old.rename(path)


def schema(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        found: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        return found


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_a_database_of_an_earlier_schema_is_brought_to_the_newest(tmp_path: Path, revision: str) -> None:
    data = tmp_path / "data"
    with hub(data, "--no-upstream") as before:
        ana = before.user("ana")
        large = push(ana)
        assert before.stop() == 0
    newest = schema(data / "lanza.db")
    bring_back(data / "lanza.db", revision)
    assert schema(data / "lanza.db") == revision != newest
    with hub(data, "--no-upstream") as server:
        assert schema(data / "lanza.db") == newest
        api = HfApi(server.url, ana.token)
        assert [it.id for it in api.list_models(search="beca")] == ["ana/becas"]
        found = hf_hub_download(
            "ana/becas", "model.bin", revision="v1", endpoint=server.url, cache_dir=tmp_path / "cache"
        )
        assert Path(found).read_bytes() == large
        api.upload_file(path_or_fileobj=b"hola", path_in_repo="a.txt", repo_id="ana/becas")
        tree = {"name": "qa", "model": {"repository": "ana/becas"}}
        made = server.call("POST", "/v2/endpoint/ana", tree, ana.token)
        assert made["status"]["state"] == "pending"
        assert [it["what"] for it in server.call("GET", "/api/lanza/audit")["items"]] == ["endpoint.create"]
        assert server.stop() == 0
    assert "all is well" in lanza("hub", "verify", "--data", data)


def settled(server: Hub, ana: User, state: str) -> Any:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = server.call("GET", "/v2/endpoint/ana/qa", token=ana.token)
        if found["status"]["state"] == state and found["status"]["readyReplica"]:
            return found
        time.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.parametrize("apart", [False, True], ids=["in the folder", "in a database"])
def test_a_restored_server_has_its_endpoints_and_starts_them_anew(tmp_path: Path, apart: bool) -> None:
    data, saved, again = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    with hub(data, program=FAKE) as server:
        ana = server.user("ana")
        push(ana)
        model = {"repository": "ana/becas", "env": {"A": "1"}, "secrets": {"CLAVE": "geheim"}}
        server.call("POST", "/v2/endpoint/ana", {"name": "qa", "model": model}, ana.token)
        settled(server, ana, "running")
        before = server.call("GET", "/api/lanza/endpoints/ana/qa/replicas", token=ana.token)
        assert "1 repositories" in lanza("backup", saved, "--data", data)
        assert server.stop() == 0
    url = f"sqlite:///{tmp_path / 'other.db' if apart else again / 'lanza.db'}"
    lanza("restore", saved, "--data", again, *(("--database", url) if apart else ()))
    database = Database(url)
    with database.reading() as session:
        for gone in (Replica, WorkerLoad, Lease):
            assert session.scalars(select(gone)).all() == []
        endpoint = store.get(session, "ana", "qa")
        revision = store.current(session, endpoint)
        vault = Vault(load_key(again / "secret.key"))
        assert store.secrets_of(vault, endpoint, revision) == {"CLAVE": "geheim"}
    database.close()
    if apart:
        (tmp_path / "other.db").rename(again / "lanza.db")  # where this server looks for it
    with hub(again, program=FAKE) as server:
        found = settled(server, ana, "running")
        assert found["model"]["env"] == {"A": "1"}
        now = server.call("GET", "/api/lanza/endpoints/ana/qa/replicas", token=ana.token)
        assert [it["phase"] for it in now] == ["ready"]
        assert now[0]["id"] != before[0]["id"]
        deeds = server.call("GET", "/api/lanza/audit?what=endpoint.")["items"]
        assert [it["what"] for it in deeds] == ["endpoint.create"]
        server.call("POST", "/v2/endpoint/ana", {"name": "dos", "model": model}, ana.token)
        assert server.stop() == 0
