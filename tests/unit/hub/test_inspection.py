from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from databases import new_database
from lanza.auth.records import Account
from lanza.auth.signing import Signer
from lanza.database import now
from lanza.hub import inspection, scanner
from lanza.hub.blobs import BlobStore
from lanza.hub.git import Change, Delete, GitStore, Put, PutLarge
from lanza.hub.hub import Hub
from lanza.hub.inspection import inspect, security_status
from lanza.hub.records import Repo
from lanza.hub.shelves import Bucket


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


EVIL = pickle.dumps(Evil())
TOKEN = "hf" + "_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"


def safetensors(size: int) -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


class Place:
    """A repository on a Hub of its own."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        with hub.database.writing() as session:
            owner = Account(key="ana", name="ana", kind="user", created_at=now())
            session.add(owner)
            session.flush()
            repo = Repo(
                kind="model",
                key="ana/becas",
                namespace="ana",
                name="becas",
                owner_id=owner.id,
                visibility="public",
                created_at=now(),
                updated_at=now(),
            )
            session.add(repo)
            session.flush()
            self.id = repo.id
        hub.git.create(self.id, author="ana")

    def large(self, path: str, content: bytes) -> PutLarge:
        sha256 = hashlib.sha256(content).hexdigest()
        self.hub.blobs.write(sha256, len(content), iter([content]))
        return PutLarge(path, sha256, len(content))

    def push(self, *changes: Change) -> list[dict[str, Any]]:
        """Commit, look, and record what was found, as the catalogue does."""
        commit = self.hub.git.open(self.id).commit("main", changes, author="ana", title="change")
        found = inspect(self.hub, self.id, commit)
        with self.hub.database.writing() as session:
            repo = session.get_one(Repo, self.id)
            repo.head, repo.findings = commit.oid, found
        return found


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[bool], Place]]:
    database = new_database(tmp_path)

    def place(far: bool) -> Place:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        if far:
            blobs = BlobStore(Bucket(MemoryStore()), scratch=scratch, staging=scratch)
        else:
            blobs = BlobStore.open(str(tmp_path), scratch)
        return Place(
            Hub(database=database, git=GitStore(tmp_path / "git"), blobs=blobs, signer=Signer(bytes(32)))
        )

    yield place
    database.close()


@pytest.fixture(params=[False, True], ids=["folder", "bucket"])
def place(make: Callable[[bool], Place], request: pytest.FixtureRequest) -> Place:
    return make(request.param)


def levels(found: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {one["path"]: (one["kind"], one["level"]) for one in found}


def test_what_is_wrong_is_named_and_what_is_clean_is_not(place: Place) -> None:
    found = place.push(
        Put("evil.pkl", EVIL),
        Put("hidden.txt", EVIL),
        Put("good.pkl", pickle.dumps({"a": 1})),
        place.large("deep/evil.bin", EVIL),
        place.large("noise.bin", bytes(range(256)) * 99),
        place.large("model.safetensors", safetensors(9)),
        place.large("short.safetensors", safetensors(5)),
        Put("train.py", f"# run it\ntoken = '{TOKEN}'\n".encode()),
        Put("README.md", b"# Becas\n"),
        Put("empty", b""),
    )
    assert levels(found) == {
        "deep/evil.bin": ("pickle", "unsafe"),
        "evil.pkl": ("pickle", "unsafe"),
        "hidden.txt": ("pickle", "unsafe"),
        "short.safetensors": ("safetensors", "caution"),
        "train.py": ("secret", "caution"),
    }
    assert TOKEN not in json.dumps(found)
    assert str(place.hub.git.root.parent) not in json.dumps(found)


def test_only_what_changed_is_looked_at_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []
    real = scanner.scan

    def spy(files: Any, **more: Any) -> Any:
        scanned.extend(file.name for file in files)
        return real(files, **more)

    monkeypatch.setattr(inspection, "scan", spy)
    place.push(Put("a.pkl", EVIL), Put("b.pkl", pickle.dumps(1)))
    found = place.push(Put("c.pkl", EVIL), Put("b.pkl", EVIL))
    assert levels(found).keys() == {"a.pkl", "b.pkl", "c.pkl"}
    assert scanned == ["a.pkl", "b.pkl", "b.pkl", "c.pkl"]
    assert levels(place.push(Delete("a.pkl"), Put("b.pkl", pickle.dumps(1)))).keys() == {"c.pkl"}


def test_a_look_that_took_too_long_goes_on_the_next_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "SECONDS", -1.0)
    found = place.push(Put("a.pkl", EVIL), Put("b.txt", TOKEN.encode()))
    assert [one["kind"] for one in found] == ["unfinished"]
    assert security_status(found) == {"scansDone": False, "filesWithIssues": []}
    monkeypatch.setattr(inspection, "SECONDS", 60.0)
    assert levels(place.push(Put("c.txt", b"hola"))).keys() == {"a.pkl", "b.txt"}


def test_scans_that_were_not_finished_are_made_up_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "scan", lambda files, seconds: scanner.scan(files[:1], seconds=60))
    found = place.push(Put("a.pkl", EVIL), Put("b.pkl", EVIL), Put("c.txt", TOKEN.encode()))
    assert {(one["kind"], one["path"]) for one in found} == {
        ("pickle", "a.pkl"),
        ("secret", "c.txt"),
        ("unfinished", "b.pkl"),
    }
    monkeypatch.undo()
    again = place.push(Put("d.txt", b"hola"))
    assert sorted((one["kind"], one["path"]) for one in again) == [
        ("pickle", "a.pkl"),
        ("pickle", "b.pkl"),
        ("secret", "c.txt"),
    ]


def test_a_head_that_is_gone_and_content_that_is_missing_are_no_trouble(place: Place) -> None:
    with place.hub.database.writing() as session:
        session.get_one(Repo, place.id).head = "0" * 40
    missing = PutLarge("gone.bin", "0" * 64, 5)
    assert levels(place.push(missing, Put("a.pkl", EVIL))).keys() == {"a.pkl"}


def test_a_pickle_that_is_far_and_too_large_is_said_to_be_so(
    make: Callable[[bool], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MOST_COPIED", 10)
    place = make(True)
    found = place.push(place.large("big.bin", EVIL), place.large("model.safetensors", safetensors(9)))
    assert levels(found) == {"big.bin": ("pickle", "caution")}


def test_clients_are_told_each_file_once_at_its_worst() -> None:
    found = [
        {"path": "a", "level": "caution", "kind": "secret", "message": "One."},
        {"path": "b", "level": "suspicious", "kind": "pickle", "message": "Two."},
        {"path": "a", "level": "unsafe", "kind": "pickle", "message": "Three."},
    ]
    assert security_status(found) == {
        "scansDone": True,
        "filesWithIssues": [
            {"path": "a", "level": "unsafe", "message": "One. Three."},
            {"path": "b", "level": "suspicious", "message": "Two."},
        ],
    }
    assert security_status([]) == {"scansDone": True, "filesWithIssues": []}
