"""Folders of models: whole and true, linked where that can be, with a base, gone when not needed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

from fake_platform import SMALL
from hub_parts import hub as make_hub
from hub_parts import person, push, record
from hub_records import principal
from lanza.auth import accounts
from lanza.endpoints import store
from lanza.endpoints.reading import read_spec
from lanza.endpoints.repositories import Base
from lanza.endpoints.secrets import Vault
from lanza.errors import LanzaError, RepoNotFound
from lanza.hub import repos
from lanza.hub.hub import Hub
from lanza.hub.names import Kind, RepoName, parse_repo
from lanza.models.adapters import BROUGHT, find_base
from lanza.server.pantry import FolderPantry
from lanza.server.repositories import HubRepositories

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = make_hub(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def repository(hub: Hub, name: str, files: dict[str, bytes], **large: bytes) -> tuple[int, str]:
    namespace = name.partition("/")[0]
    with hub.database.reading() as session:
        known = accounts.find(session, namespace)
        caller = principal(known) if known else None
    repos.create(hub, caller or person(hub, namespace), parse_repo(Kind.MODEL, name))
    number = record(hub, name).id
    return number, push(
        hub, number, files, large={path.replace("__", "."): it for path, it in large.items()}
    ).oid


def fetch(pantry: FolderPantry, number: int, commit: str, base: Base | None = None) -> Path:
    return asyncio.run(pantry.fetch(number, commit, base)).folder


def test_a_folder_has_the_files_of_its_commit(hub: Hub, models: Path) -> None:
    files = {"config.json": b"{}", "onnx/vocab.txt": "año\n".encode(), "empty": b""}
    number, commit = repository(hub, "ana/becas", files, model__safetensors=WEIGHTS)
    push(hub, number, {"config.json": b"{2}"})
    folder = fetch(FolderPantry(hub, models), number, commit)
    assert folder == models / str(number) / commit
    for path, content in {**files, "model.safetensors": WEIGHTS}.items():
        assert (folder / path).read_bytes() == content
    assert [it.name for it in models.iterdir()] == [str(number)]


def test_large_files_are_links_that_nobody_may_write_to(hub: Hub, models: Path) -> None:
    number, commit = repository(hub, "ana/becas", {}, model__safetensors=WEIGHTS)
    weights = fetch(FolderPantry(hub, models), number, commit) / "model.safetensors"
    assert weights.stat().st_nlink == 2
    assert weights.stat().st_mode & 0o222 == 0


def test_large_files_are_copied_where_they_cannot_be_linked(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, commit = repository(hub, "ana/becas", {}, model__safetensors=WEIGHTS)
    monkeypatch.setattr(type(hub.blobs), "path", lambda self, sha256: None)
    weights = fetch(FolderPantry(hub, models), number, commit) / "model.safetensors"
    assert weights.stat().st_nlink == 1
    assert weights.read_bytes() == WEIGHTS


def test_what_fails_half_way_leaves_nothing(hub: Hub, models: Path) -> None:
    number, commit = repository(hub, "ana/becas", {"a.txt": b"a"}, model__safetensors=WEIGHTS)
    for sha256, _ in list(hub.blobs.all()):
        hub.blobs.delete(sha256)
    with pytest.raises(LanzaError, match="push the file again"):
        fetch(FolderPantry(hub, models), number, commit)
    assert list(models.rglob("*")) == []


def adapter(hub: Hub, base: str, name: str = "ana/lora", **more: str) -> tuple[int, str]:
    config = json.dumps({"base_model_name_or_path": base, "peft_type": "LORA", **more}).encode()
    return repository(hub, name, {"adapter_config.json": config}, adapter_model__safetensors=WEIGHTS[:512])


def base_in(folder: Path, name: str, revision: str | None = None) -> Path:
    found = find_base(name, beside=folder, revision=revision, cache=folder / "nothing")
    assert found is not None
    assert found.is_relative_to(folder.resolve())
    return found


def test_an_adapter_brings_its_base_along(hub: Hub, models: Path) -> None:
    repository(hub, "eva/base", {"config.json": b'{"model_type": "bert"}'}, model__safetensors=WEIGHTS)
    folder = fetch(FolderPantry(hub, models), *adapter(hub, "eva/base"))
    config = json.loads((folder / "adapter_config.json").read_bytes())
    assert config == {"base_model_name_or_path": "eva/base", "peft_type": "LORA"}
    assert (base_in(folder, "eva/base") / "model.safetensors").read_bytes() == WEIGHTS


def test_clients_find_the_base_by_its_name(hub: Hub, models: Path) -> None:
    """As handlers do, which have the folder's cache and do not ask the Hub."""
    repository(hub, "eva/base", {"config.json": b'{"model_type": "bert"}'})
    folder = fetch(FolderPantry(hub, models), *adapter(hub, "eva/base"))
    found = try_to_load_from_cache("eva/base", "config.json", cache_dir=folder / BROUGHT)
    assert isinstance(found, str)
    assert json.loads(Path(found).read_text()) == {"model_type": "bert"}


@pytest.mark.parametrize("by_commit", [False, True])
def test_the_revision_of_the_base_is_the_one_that_the_adapter_names(
    hub: Hub, models: Path, by_commit: bool
) -> None:
    number, old = repository(hub, "eva/base", {"config.json": b'{"model_type": "old"}'})
    push(hub, number, {"config.json": b'{"model_type": "new"}'})
    revision = old if by_commit else "main"
    folder = fetch(FolderPantry(hub, models), *adapter(hub, "eva/base", revision=revision))
    config = base_in(folder, "eva/base", revision) / "config.json"
    assert json.loads(config.read_bytes()) == {"model_type": "old" if by_commit else "new"}


def test_a_base_that_came_along_is_taken(hub: Hub, models: Path) -> None:
    mine = repository(
        hub,
        "ana/lora",
        {
            "adapter_config.json": b'{"base_model_name_or_path": "eva/base", "peft_type": "LORA"}',
            ".hub/models--eva--base/refs/main": b"abc",
            ".hub/models--eva--base/snapshots/abc/config.json": b"{}",
        },
    )
    assert (base_in(fetch(FolderPantry(hub, models), *mine), "eva/base") / "config.json").is_file()


def test_a_base_that_is_not_for_everybody_is_not_given_away(hub: Hub, models: Path) -> None:
    number, _ = repository(hub, "eva/base", {"config.json": b"{}"})
    mine = adapter(hub, "eva/base", "eva/lora")
    others = adapter(hub, "eva/base", "ana/lora")
    with hub.database.writing() as session:
        repo = session.get_one(type(record(hub, "eva/base")), number)
        repo.visibility = "private"
    pantry = FolderPantry(hub, models)
    assert (base_in(fetch(pantry, *mine), "eva/base") / "config.json").is_file()
    with pytest.raises(RepoNotFound, match="not for everybody"):
        fetch(pantry, *others)


def test_a_base_that_is_not_here_is_brought(hub: Hub, models: Path) -> None:
    asked: list[RepoName] = []

    def bring(name: RepoName, revision: str) -> bool:
        asked.append(name)
        repository(hub, "google/base", {"config.json": b"{}"})
        return True

    folder = fetch(FolderPantry(hub, models, bring=bring), *adapter(hub, "google/base"))
    assert [it.id for it in asked] == ["google/base"]
    assert (base_in(folder, "google/base") / "config.json").is_file()


@pytest.mark.parametrize("base", ["/home/ana/base", "nadie/nada", "a/b/c"])
def test_a_base_that_cannot_be_had_is_named(hub: Hub, models: Path, base: str) -> None:
    with pytest.raises(RepoNotFound, match=r"adapter_config\.json"):
        fetch(FolderPantry(hub, models), *adapter(hub, base))


def test_folders_go_when_no_endpoint_is_at_them(hub: Hub, models: Path) -> None:
    number, old = repository(hub, "ana/becas", {"a.txt": b"1"})
    new = push(hub, number, {"a.txt": b"2"}).oid
    pantry = FolderPantry(hub, models)
    old_folder, new_folder = fetch(pantry, number, old), fetch(pantry, number, new)
    (models / ".half").mkdir()
    os.utime(models / ".half", (0, 0))
    (models / ".being-made").mkdir()
    spec = read_spec({"name": "becas", "model": {"repository": "ana/becas"}})
    with hub.database.writing() as session:
        making = store.Making(spec=spec, instance=SMALL, repo_id=number, commit=new, secrets={})
        endpoint = store.create(session, Vault(b"k" * 32), accounts.get(session, "ana"), making, by="ana")
    pantry.tidy()
    assert new_folder.is_dir()
    assert not old_folder.exists()
    assert not (models / ".half").exists()
    assert (models / ".being-made").is_dir()
    with hub.database.writing() as session:
        session.delete(session.merge(endpoint))
    pantry.tidy()
    assert not new_folder.exists()
    assert fetch(pantry, number, new) == new_folder


def test_a_pinned_base_is_the_same_when_it_has_moved(hub: Hub, models: Path) -> None:
    base, old = repository(hub, "eva/base", {"config.json": b'{"model_type": "old"}'})
    mine = adapter(hub, "eva/base")
    pinned = HubRepositories(hub).resolve(person(hub, "rev"), "ana/lora", None).base
    assert pinned == Base(repo_id=base, name="eva/base", revision="main", commit=old)
    push(hub, base, {"config.json": b'{"model_type": "new"}'})
    pantry = FolderPantry(hub, models)
    for commit, said in ((pinned, "old"), (None, "new")):
        folder = fetch(pantry, *mine, commit)
        found = json.loads((base_in(folder, "eva/base") / "config.json").read_bytes())
        assert found == {"model_type": said}
    assert len(list((models / str(mine[0])).iterdir())) == 2
