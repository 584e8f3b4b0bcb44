"""The Hub on a real PostgreSQL from Debian, and with its large files in a bucket of an S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from sqlalchemy import select

from hub_records import account, repo
from hubs import Hub, User, hub
from lanza.auth.principal import ANONYMOUS
from lanza.database import Database
from lanza.hub import search
from lanza.hub.names import Kind
from lanza.hub.postings import rebuild
from lanza.hub.records import Posting
from lanza.hub.search import Query, find
from postgresql import PROGRAMS, cluster, free_port
from serving import ROOT


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL of this test's own."""
    with cluster() as made:
        yield made.url


@pytest.fixture
def bucket() -> Iterator[list[str]]:
    """An S3 server with an empty bucket; gives the variables that lead to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="lanza")
    try:
        yield [
            f"AWS_ENDPOINT_URL={url}",
            "AWS_REGION=us-east-1",
            "AWS_ALLOW_HTTP=true",
            *(f"{name.upper()}={value}" for name, value in keys.items()),
        ]
    finally:
        server.stop()


def push_and_pull(server: Hub, folder: Path, name: str) -> None:
    """A small file and a large one go up and come back, after a change of each."""
    ana = server.user(name)
    api, repo = ana.api(), f"{ana.name}/becas"
    api.create_repo(repo)
    large = os.urandom(3_000_000)
    for number in range(2):
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "n": number}))
        (folder / "model.bin").write_bytes(large + b"x" * number)
        api.upload_folder(repo_id=repo, folder_path=folder)
    found = Path(api.snapshot_download(repo, cache_dir=folder.parent / f"cache-{name}"))
    assert (found / "model.bin").read_bytes() == large + b"x"
    assert (found / "config.json").read_text() == '{"model_type": "bert", "n": 1}'
    assert [it.id for it in api.list_models(author=ana.name, filter="bert")] == [repo]
    api.move_repo(repo, f"{ana.name}/otra")
    assert api.model_info(repo).id == f"{ana.name}/otra"
    api.delete_repo(f"{ana.name}/otra")
    assert not api.repo_exists(repo)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "modelo"
    path.mkdir()
    return path


def test_records_live_in_postgresql(postgres: str, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with hub(data, "--no-upstream", environment=[f"LANZA_DATABASE={postgres}"]) as server:
        push_and_pull(server, folder, "ana")
        assert server.stop() == 0
    assert not (data / "lanza.db").exists()
    with hub(data, "--no-upstream", environment=[f"LANZA_DATABASE={postgres}"]) as server:
        push_and_pull(server, folder, "eva")


@pytest.mark.parametrize("few", [0, 1000], ids=["walked", "gathered"])
def test_lists_are_found_in_postgresql(postgres: str, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Either way to a page; repositories that are made at the same moment are all found afterwards."""
    monkeypatch.setattr(search, "FEW", few)
    database = Database(postgres)
    database.migrate()
    with database.writing() as session:
        account(session, "ana")
        repo(session, "ana/other", "en", visibility="private")

    def make(number: int) -> None:
        with database.writing() as session:
            repo(session, f"ana/becas-{number}", "es", age=number, parameters=1000 + number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, range(40)))
    for query, count in (
        (Query(kind=Kind.MODEL), 40),
        (Query(kind=Kind.MODEL, tags=["es"], words=["CAS-"], author="Ana", gated=False), 40),
        (Query(kind=Kind.MODEL, parameters=(1010, 1019), order="likes"), 10),
        (Query(kind=Kind.MODEL, tags=["en"]), 0),
    ):
        with database.reading() as session:
            found = find(session, ANONYMOUS, query)
            assert len(found.repos) == count
    with database.writing() as session:
        rows = [(it.kind, it.term, it.block, it.bits) for it in session.scalars(select(Posting))]
        session.expunge_all()
        rebuild(session)
        again = [(it.kind, it.term, it.block, it.bits) for it in session.scalars(select(Posting))]
        assert sorted(again) == sorted(rows)
    database.close()


def test_large_files_live_in_a_bucket(bucket: list[str], folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with hub(data, "--no-upstream", "--storage", "s3://lanza/hub", environment=bucket) as server:
        push_and_pull(server, folder, "ana")
    assert not list(data.glob("blobs/**/*"))


def lanza(*arguments: str | Path, environment: list[str], code: int = 0) -> str:
    """A command on this machine, which ends with `code`; gives what it says."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "lanza", *map(str, arguments)],
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **dict(pair.split("=", 1) for pair in environment)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


def push(ana: User, number: int) -> tuple[str, bytes]:
    path, content = f"n{number}.bin", os.urandom(400_000)
    ana.api().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="ana/becas")
    return path, content


def test_a_backup_of_postgresql_and_a_bucket_is_restored_to_either_kind(
    postgres: str, bucket: list[str], tmp_path: Path
) -> None:
    """Taken while pushes go on: every one that was acknowledged before it began is there, byte for byte."""
    data, saved, other = tmp_path / "data", tmp_path / "saved", postgres.rpartition("/")[0] + "/other"
    here = [f"LANZA_DATABASE={postgres}", "LANZA_STORAGE=s3://lanza/hub", *bucket]
    with hub(data, "--no-upstream", environment=here) as server:
        ana = server.user("ana")
        ana.api().create_repo("ana/gone")
        ana.api().create_repo("ana/becas")
        ana.api().delete_repo("ana/gone")
        tree = {"name": "qa", "model": {"repository": "ana/becas", "secrets": {"S": "geheim"}}}
        server.call("POST", "/v2/endpoint/ana", tree, ana.token)
        server.call("POST", "/v2/endpoint/ana/qa/pause", token=ana.token)
        acknowledged = dict(push(ana, number) for number in range(3))
        with ThreadPoolExecutor() as pool:
            later = pool.submit(lambda: dict(push(ana, number) for number in range(3, 6)))
            while not later.done():
                said = lanza("backup", saved, "--data", data, environment=here)
                assert "1 repositories" in said
            acknowledged |= later.result()
        assert "6 large files" in lanza("backup", saved, "--data", data, environment=here)
        assert server.stop() == 0
    lanza("restore", saved, "--data", tmp_path / "plain", environment=[])
    host = postgres.rpartition("/")[0].replace("+psycopg", "")
    subprocess.run([PROGRAMS[-1] / "psql", f"{host}/lanza", "-qc", "CREATE DATABASE other"], check=True)
    there = [f"LANZA_DATABASE={other}", "LANZA_STORAGE=s3://lanza/second", *bucket]
    refused = lanza("restore", saved, "--data", tmp_path / "no", environment=here, code=2)
    assert "the database has records already" in refused
    lanza("restore", saved, "--data", tmp_path / "far", environment=there)
    assert not (tmp_path / "far" / "lanza.db").exists()
    assert not list(tmp_path.glob("far/blobs/*"))
    for name, environment in (("plain", []), ("far", there)):
        with hub(tmp_path / name, "--no-upstream", environment=environment) as again:
            api = HfApi(again.url, ana.token)
            api.create_repo("ana/nueva")  # its number is new in either kind of database
            paused = again.call("GET", "/v2/endpoint/ana/qa", token=ana.token)
            assert (paused["status"]["state"], paused["model"]["secrets"]) == ("paused", {"S": None})
            again.call("POST", "/v2/endpoint/ana", {**tree, "name": "dos"}, ana.token)
            found = Path(api.snapshot_download("ana/becas", cache_dir=tmp_path / f"cache-{name}"))
            assert {it.name: it.read_bytes() for it in found.glob("*.bin")} == acknowledged
            assert "all is well" in lanza("hub", "verify", "--data", again.data, environment=environment)
            folders = {it.name for it in again.data.glob("git/*/*.git")}
            assert folders == {"2.git", "3.git"}
