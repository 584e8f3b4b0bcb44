"""`lanza hub ...`, `backup` and `restore` beside a real `lanza up`, on what real clients pushed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError

from hubs import Hub, User, hub
from lanza.server.folder import DataFolder
from serving import ROOT

OLD = "2020-01-01 00:00:00.000000"


def lanza(*arguments: str | Path, code: int = 0, **environment: str) -> str:
    """`lanza hub ARGUMENTS`, or `lanza backup` and `restore`; ends with `code`, gives what it says."""
    words = [*arguments] if arguments[0] in ("backup", "restore") else ["hub", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "lanza", *map(str, words)],
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return done.stdout if code == 0 else said


def told(*arguments: str | Path, code: int = 0) -> Any:
    return json.loads(lanza(*arguments, "--json", code=code))


def blob(data: Path, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return data / "blobs" / sha256[:2] / sha256


def content(number: int) -> bytes:
    return random.Random(number).randbytes(300_000)


def put(ana: User, repo: str, path: str, data: bytes) -> None:
    ana.api().upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path / "data", "--no-upstream") as running:
        yield running


@pytest.fixture
def ana(server: Hub) -> User:
    ana = server.user("ana")
    ana.api().create_repo("ana/becas")
    put(ana, "ana/becas", "model.bin", content(0))
    put(ana, "ana/becas", "notes.txt", b"apuntes")
    return ana


def test_verify_names_the_blob_with_a_flipped_byte(server: Hub, ana: User) -> None:
    assert told("verify", "--data", server.data) == {"blobs": 1, "bytes": 300_000, "problems": []}
    path = blob(server.data, content(0))
    damaged = bytearray(path.read_bytes())
    damaged[1234] ^= 1
    path.write_bytes(damaged)
    said = told("verify", "--data", server.data, code=1)
    assert [(it["kind"], it["sha256"]) for it in said["problems"]] == [("damaged", path.name)]
    assert f"damaged: {path.name}: " in lanza("verify", "--data", server.data, code=1)
    path.unlink()
    [missing] = told("verify", "--data", server.data, code=1)["problems"]
    assert (missing["kind"], missing["sha256"], missing["repo"]) == ("missing", path.name, "ana/becas")
    with pytest.raises(ConnectionError):  # the client believes its chunks to be here; this ends that
        put(ana, "ana/becas", "model.bin", content(0))
    put(ana, "ana/becas", "model.bin", content(0))
    assert "all is well" in lanza("verify", "--data", server.data)


def test_verify_names_a_repository_that_cannot_be_read(server: Hub, ana: User) -> None:
    [folder] = server.data.glob("git/*/*.git")
    shutil.rmtree(folder / "objects")
    [problem] = told("verify", "--data", server.data, code=1)["problems"]
    assert (problem["kind"], problem["repo"]) == ("damaged", "ana/becas")
    assert "no files of this repository" in lanza("collect", "--data", server.data, code=1)
    assert blob(server.data, content(0)).is_file()


def test_nothing_is_collected_while_a_branch_leads_to_nothing(server: Hub, ana: User) -> None:
    [folder] = server.data.glob("git/*/*.git")
    branch = next(
        path for path in (folder / "refs" / "heads" / "main", folder / "packed-refs") if path.is_file()
    )
    branch.write_text("1" * 40 + ("" if branch.name == "main" else " refs/heads/main") + "\n")
    for _ in range(2):
        pass_days(server.data)
        assert "restore it from a backup" in lanza("collect", "--data", server.data, code=1)
    assert blob(server.data, content(0)).is_file()
    [problem] = told("verify", "--data", server.data, code=1)["problems"]
    assert (problem["kind"], problem["repo"]) == ("damaged", "ana/becas")


def test_a_backup_taken_while_pushes_go_on_has_every_file_that_was_acknowledged(
    server: Hub, ana: User, tmp_path: Path
) -> None:
    acknowledged: dict[str, bytes] = {"model.bin": content(0), "notes.txt": b"apuntes"}
    stop = Event()
    failures: list[Exception] = []

    def go_on() -> None:
        number = 1
        try:
            while not stop.is_set():
                put(ana, "ana/becas", f"model-{number}.bin", content(number))
                acknowledged[f"model-{number}.bin"] = content(number)
                number += 1
        except (OSError, HfHubHTTPError) as error:
            failures.append(error)

    pushing = Thread(target=go_on)
    pushing.start()
    reports, before = [], {}
    try:
        for _ in range(3):
            before = dict(acknowledged)
            reports.append(told("backup", tmp_path / "copy", "--data", server.data))
    finally:
        stop.set()
        pushing.join(60)
    assert not failures
    assert len(acknowledged) > len(before) > 2
    assert all(report["problems"] == [] for report in reports)
    assert reports[-1]["blobs"] >= len(before) - 1
    server.stop()

    restored = tmp_path / "restored"
    assert "1 repositories" in lanza("restore", tmp_path / "copy", "--data", restored)
    assert "all is well" in lanza("verify", "--data", restored)
    with hub(restored, "--no-upstream", homes=tmp_path / "other-homes") as again:
        api = User(name=ana.name, token=ana.token, url=again.url, home=ana.home).api()
        folder = Path(api.snapshot_download("ana/becas", cache_dir=tmp_path / "cache"))
        for path, expected in before.items():
            assert (folder / path).read_bytes() == expected
        api.upload_file(path_or_fileobj=b"more", path_in_repo="more.bin", repo_id="ana/becas")


def pass_days(data: Path) -> None:
    """As if all that is stored had been stored long ago, beside the running server."""
    with sqlite3.connect(data / "lanza.db", timeout=30) as connection:
        for table in ("blobs", "repo_blobs", "xorbs", "multiparts"):
            connection.execute(f"UPDATE {table} SET created_at = '{OLD}'")
        connection.execute("DELETE FROM hub_state WHERE name LIKE 'xet_used:%'")
    connection.close()
    long_ago = time.time() - 30 * 24 * 3600
    for path in data.glob("blobs/??/*"):
        os.utime(path, (long_ago, long_ago))


def test_collect_keeps_what_a_commit_needs_and_removes_what_none_does(server: Hub, ana: User) -> None:
    api = ana.api()
    api.create_repo("ana/gone")
    put(ana, "ana/gone", "model.bin", content(1))
    put(ana, "ana/gone", "shared.bin", content(0))
    put(ana, "ana/becas", "old.bin", content(2))
    api.delete_file("old.bin", "ana/becas")
    api.delete_repo("ana/gone")
    assert told("collect", "--data", server.data)["blobs"] == 0, "all of it has just come"
    for _ in range(2):
        pass_days(server.data)
        said = told("collect", "--data", server.data)
    assert not blob(server.data, content(1)).exists()
    assert blob(server.data, content(0)).is_file(), "the other repository has it"
    assert blob(server.data, content(2)).is_file(), "a commit in the history has it"
    assert said["logical_bytes"] == said["stored_bytes"] == 600_000
    assert told("verify", "--data", server.data)["problems"] == []
    api.super_squash_history("ana/becas")
    for _ in range(2):
        pass_days(server.data)
        lanza("collect", "--data", server.data)
    assert not blob(server.data, content(2)).exists()
    found = api.hf_hub_download("ana/becas", "model.bin", cache_dir=ana.home / "cache")
    assert Path(found).read_bytes() == content(0)
    put(ana, "ana/becas", "old.bin", content(2))
    assert blob(server.data, content(2)).is_file(), "a client that remembers its chunks sends them again"


def test_a_short_grace_period_is_only_for_a_server_that_is_stopped(server: Hub, ana: User) -> None:
    said = lanza("collect", "--older-than", "1h", "--data", server.data, code=2)
    assert f"process {server.process.pid}" in said
    assert "stop it" in said
    server.stop()
    assert told("collect", "--older-than", "1h", "--data", server.data)["stored_bytes"] == 300_000


def test_what_cannot_be_asked_for_is_said_in_a_line(server: Hub, ana: User, tmp_path: Path) -> None:
    nothing, full = tmp_path / "nothing", tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for verb in ("verify", "collect"):
        assert "--data" in lanza(verb, "--data", nothing, code=2)
    assert "12h" in lanza("collect", "--older-than", "soon", "--data", server.data, code=2)
    with DataFolder(path=server.data).collecting():
        assert "just now" in lanza("collect", "--data", server.data, code=2)
    assert "no data folder" in lanza("backup", tmp_path / "copy", "--data", nothing, code=2)
    assert "empty folder" in lanza("backup", full, "--data", server.data, code=2)
    assert "elsewhere" in lanza("backup", server.data / "copy", "--data", server.data, code=2)
    assert "no whole backup" in lanza("restore", full, "--data", nothing, code=2)
    lanza("backup", tmp_path / "copy", "--data", server.data)
    for taken in (full, server.data):
        assert "not empty" in lanza("restore", tmp_path / "copy", "--data", taken, code=2)
    assert (full / "mine.txt").read_text() == "mine"
    assert not nothing.exists()


def test_a_database_of_another_lanza_is_left_alone(server: Hub) -> None:
    server.stop()
    with sqlite3.connect(server.data / "lanza.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "lanza up" in lanza("verify", "--data", server.data, code=2)


def test_pull_brings_a_repository_here_for_good(server: Hub, ana: User, tmp_path: Path) -> None:
    """Through the server, as from any machine: by an administrator, or by whoever may write there."""
    with hub(tmp_path / "here", "--upstream", server.url) as here:
        where = ("--server", here.url)
        eva = here.user("eva")

        def pull(*words: str, token: str = here.root, code: int = 0) -> str:
            return lanza("pull", *words, *where, code=code, LANZA_TOKEN=token)

        assert "ana/becas is here" in pull("ana/becas")
        first = json.loads(pull("ana/becas", "--json"))
        assert first == json.loads(pull("ana/becas", "--json")), "nothing has changed meanwhile"
        pull("ana/becas", "--to", "eva/copia", token=eva.token)
        assert "only an administrator" in pull("ana/becas", "--to", "leo/copia", token=eva.token, code=1)
        assert "eva may not write to ana/becas" in pull("ana/becas", token=eva.token, code=1)
        assert "needs a token" in pull("ana/becas", token="", code=1)
        assert "no model" in pull("ana/otra", code=1)
        assert "namespace/name" in pull("a/b/c", code=1)
        assert "--to" in pull("gpt2", code=1)
        server.stop()
        assert "cannot be asked" in pull("ana/becas", code=1)
        api = User(name="", token="", url=here.url, home=tmp_path).api()
        for name in ("ana/becas", "eva/copia"):
            folder = Path(api.snapshot_download(name, cache_dir=tmp_path / "cache", token=False))
            assert (folder / "model.bin").read_bytes() == content(0)
            assert (folder / "notes.txt").read_bytes() == b"apuntes"


def test_a_server_without_upstream_imports_nothing(server: Hub) -> None:
    said = lanza("pull", "ana/becas", "--server", server.url, code=1, LANZA_TOKEN=server.root)
    assert "--no-upstream" in said
