"""What the real hf_xet and huggingface_hub send of large files, and what this leaves on the disk."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from hub_contents import ContentServer, serving
from hubs import Hub, User
from lanza.hub import multipart

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])
"""
DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], local_dir=sys.argv[2]))
"""
NOISE = random.Random(7)


def upload(user: User, folder: Path, repo: str = "becas", **more: Any) -> bool:
    """Whether it went well."""
    done = user.run(sys.executable, "-c", UPLOAD, f"{user.name}/{repo}", str(folder), check=False, **more)
    return done.returncode == 0


def comes_back(user: User, folder: Path, to: Path, repo: str = "becas") -> bool:
    user.python(
        DOWNLOAD.replace("sys.argv[1]", repr(f"{user.name}/{repo}")).replace("sys.argv[2]", repr(str(to)))
    )
    return all((to / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def ask(server: Hub, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(f"file:{server.data / 'lanza.db'}?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()


def sent_by(server: Hub, user: User) -> int:
    """Bytes of chunks that a user has sent by Xet so far."""
    account = "SELECT id FROM accounts WHERE name = ?"
    found = ask(server, f"SELECT coalesce(sum(size), 0) FROM xorbs WHERE account_id = ({account})", user.name)
    return int(found[0][0])


def waiting(server: Hub) -> list[str]:
    return [path.name for path in (server.data / "xorbs").rglob("*") if path.is_file()]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """One file of noise, of which no chunk is like another."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(NOISE.randbytes(16_000_000))
    return folder


def test_files_of_every_kind_become_plain_files(server: Hub, ana: User, tmp_path: Path) -> None:
    folder = tmp_path / "kinds"
    folder.mkdir()
    weights = b"".join(struct.pack("<f", NOISE.gauss(0, 0.02)) for _ in range(300_000))
    (folder / "float32.bin").write_bytes(weights)  # is sent by groups of bytes
    (folder / "zeros.bin").write_bytes(bytes(9_000_000) + b"end")
    (folder / "text.bin").write_bytes(b"becas y ayudas " * 100_000)
    (folder / "noise.bin").write_bytes(NOISE.randbytes(3_000_001))
    (folder / "one.bin").write_bytes(b"\0")
    for number in range(20):
        (folder / f"{number}.bin").write_bytes(weights[: 10_000 * number + 1])
    assert upload(ana, folder)
    assert comes_back(ana, folder, tmp_path / "back")
    assert waiting(server) == []


def test_of_an_almost_equal_file_almost_nothing_is_sent(
    server: Hub, ana: User, large: Path, tmp_path: Path
) -> None:
    assert upload(ana, large)
    first = sent_by(server, ana)
    assert first == 16_000_000
    path = large / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[8_000_000:8_000_010] = b"fine-tuned"
    path.write_bytes(content + b"and a bit more")
    assert upload(ana, large)
    assert 0 < sent_by(server, ana) - first < 0.05 * first
    assert comes_back(ana, large, tmp_path / "back")
    assert waiting(server) == []


def test_two_users_of_one_machine_do_not_disturb_each_other(
    server: Hub, ana: User, new_user: Callable[[], User], large: Path, tmp_path: Path
) -> None:
    """The client remembers what it has sent, whoever it was; nobody may name another's chunks."""
    assert upload(ana, large)
    eva = new_user()
    assert upload(eva, large, HF_HOME=str(ana.home / "hf"))
    assert sent_by(server, eva) == 16_000_000
    assert comes_back(eva, large, tmp_path / "back")


def test_after_a_loss_the_next_upload_fails_and_the_one_after_it_mends_it(
    server: Hub, ana: User, large: Path, tmp_path: Path
) -> None:
    assert upload(ana, large)
    sha256 = hashlib.sha256((large / "model.safetensors").read_bytes()).hexdigest()
    (server.data / "blobs" / sha256[:2] / sha256).unlink()
    assert not upload(ana, large, "another")
    assert upload(ana, large, "another")
    assert comes_back(ana, large, tmp_path / "back")


def test_the_same_content_lies_on_the_disk_once(
    server: Hub, ana: User, new_user: Callable[[], User], large: Path
) -> None:
    (large / "copy.bin").write_bytes((large / "model.safetensors").read_bytes())
    before = used(server)
    assert upload(ana, large)
    assert upload(new_user(), large, HF_HUB_DISABLE_XET="1")
    assert used(server) - before == 16_000_000
    assert waiting(server) == []


def used(server: Hub) -> int:
    return sum(path.stat().st_size for path in (server.data / "blobs").rglob("*") if path.is_file())


@contextmanager
def listening(server: ContentServer) -> Iterator[str]:
    """The whole server, within this process, on a port of this machine."""
    config = uvicorn.Config(server.app, port=0, log_level="error", lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(30)


def test_a_very_large_file_comes_in_parts(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "LARGEST_PIECE", 10_000_000)
    monkeypatch.setattr(multipart, "PART", 3_000_000)
    with serving(tmp_path / "data") as inner, listening(inner) as url:
        home = tmp_path / "home"
        home.mkdir()
        ana = User(name="ana", token=inner.user("ana"), url=url, home=home)
        assert upload(ana, large, HF_HUB_DISABLE_XET="1")
        assert comes_back(ana, large, tmp_path / "back")
        assert list((tmp_path / "data" / "parts").iterdir()) == []
