"""The record of a repository repeats what git holds, whatever that is and whoever is faster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hub_parts import CARD, CONFIG, hub, keep, person, push, record, safetensors
from hub_records import model, principal
from lanza.auth.principal import Principal
from lanza.auth.records import Account
from lanza.hub import catalog, repos
from lanza.hub.catalog import facts_at, refresh
from lanza.hub.git import Delete, Put, PutLarge
from lanza.hub.hub import Hub
from lanza.hub.names import Kind
from lanza.hub.objects import Commit
from lanza.hub.records import RepoTag


@pytest.fixture
def made(tmp_path: Path) -> Hub:
    opened = hub(tmp_path)
    repos.create(opened, person(opened, "Ana"), model("Ana/becas"))
    return opened


@pytest.fixture
def number(made: Hub) -> int:
    return record(made, "Ana/becas").id


def tags(hub: Hub, number: int) -> Sequence[str]:
    with hub.database.reading() as session:
        return sorted(session.scalars(select(RepoTag.tag).where(RepoTag.repo_id == number)))


def test_the_record_says_what_the_files_say(made: Hub, number: int) -> None:
    weights = safetensors(a=(10, 20), b=(30,))
    head = push(
        made, number, {"README.md": CARD, "config.json": CONFIG}, large={"model.safetensors": weights}
    )
    told = record(made, "Ana/becas")
    assert (told.head, told.library, told.pipeline_tag) == (head.oid, "transformers", "question-answering")
    assert told.parameters == 230
    assert told.facts["safetensors"] == {"parameters": {"F32": 230}, "total": 230}
    assert told.card is not None
    assert told.card["license"] == "mit"
    assert {"es", "en", "becas", "license:mit", "safetensors", "bert"} <= set(tags(made, number))
    assert told.stored_bytes > len(weights)


def test_what_is_gone_from_the_files_is_gone_from_the_record(made: Hub, number: int) -> None:
    push(made, number, {"README.md": CARD, "config.json": CONFIG, "model.safetensors": safetensors(a=(3,))})
    deletions = [Delete("README.md"), Delete("model.safetensors")]
    made.git.open(number).commit("main", deletions, author="ana", title="less")
    refresh(made, number)
    told = record(made, "Ana/becas")
    assert (told.card, told.parameters) == (None, None)
    assert tags(made, number) == ["bert", "question-answering", "transformers"]


def test_the_date_changes_with_the_commit_alone(made: Hub, number: int) -> None:
    before = record(made, "Ana/becas").updated_at
    refresh(made, number)
    assert record(made, "Ana/becas").updated_at == before
    push(made, number, {"x.txt": b"x"})
    assert record(made, "Ana/becas").updated_at > before


def test_other_branches_change_nothing(made: Hub, number: int) -> None:
    git = made.git.open(number)
    git.create_branch("prueba")
    git.commit("prueba", [Put("README.md", CARD)], author="ana", title="elsewhere")
    refresh(made, number)
    assert record(made, "Ana/becas").card is None


def test_weights_in_parts_are_counted_together(made: Hub, number: int) -> None:
    parts = {"model-1.safetensors": safetensors(a=(10,)), "model-2.safetensors": safetensors(b=(5,))}
    index = {
        "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}
    }
    push(made, number, {"model.safetensors.index.json": json.dumps(index).encode()}, large=parts)
    assert record(made, "Ana/becas").parameters == 15
    made.git.open(number).commit("main", [Delete("model-2.safetensors")], author="ana", title="lost")
    refresh(made, number)
    assert record(made, "Ana/becas").parameters is None


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": b"---\n\xff: [\n---\n"},
        {"README.md": b"---\nlicense: {a: [b, {c: 1}]}\ntags: 3\nlanguage: {x: y}\npipeline_tag: [1]\n---\n"},
        {"config.json": b"[1, 2"},
        {"config.json": b'{"architectures": {"a": 1}, "model_type": ["x"], "auto_map": NaN}'},
        {"config.json": b'{"a":' * 3000},
        {"tokenizer_config.json": b'{"mask_token": "\\ud800", "chat_template": [1]}', "config.json": CONFIG},
        {"adapter_config.json": b'{"task_type": [], "base_model_name_or_path": {}}'},
        {"model_index.json": b'{"_class_name": ["a"], "_diffusers_version": {}}'},
        {"model.safetensors": b""},
        {"model.safetensors": b"\xff" * 8},
        {"model.safetensors": (50).to_bytes(8, "little") + b"{}"},
        {"model.safetensors": (2).to_bytes(8, "little") + b"[]"},
        {"model.safetensors.index.json": b'{"weight_map": {"a": "../../etc/passwd", "b": 3}}'},
        {"model.safetensors.index.json": b'{"weight_map": [1]}'},
        {"README.md/x": b"a folder", "config.json/y": b"another"},
        {"README.md": b"---\nwidget: " + b"x" * 3 * 2**20 + b"\n---\n"},
    ],
)
def test_nothing_that_is_in_a_repository_is_an_error(made: Hub, number: int, files: dict[str, bytes]) -> None:
    head = push(made, number, files)
    told = record(made, "Ana/becas")
    assert told.head == head.oid
    assert told.parameters is None


def test_a_large_file_whose_blob_is_gone_is_as_if_it_said_nothing(made: Hub, number: int) -> None:
    changes = [PutLarge("model.safetensors", "ab" * 32, 500), PutLarge("README.md", "cd" * 32, 90)]
    head = made.git.open(number).commit("main", changes, author="ana", title="dangling")
    refresh(made, number)
    assert (record(made, "Ana/becas").head, record(made, "Ana/becas").parameters) == (head.oid, None)


def test_a_card_that_is_a_large_file_is_read_too(made: Hub, number: int) -> None:
    push(made, number, {}, large={"README.md": CARD})
    assert record(made, "Ana/becas").pipeline_tag == "question-answering"


def test_bytes_count_what_the_repository_may_reach(made: Hub, number: int) -> None:
    before = record(made, "Ana/becas").stored_bytes
    keep(made, number, b"x" * 100_000)
    refresh(made, number)
    assert record(made, "Ana/becas").stored_bytes == before + 100_000


def test_an_older_commit_says_what_it_said(made: Hub, number: int) -> None:
    old = push(made, number, {"README.md": CARD})
    push(made, number, {"README.md": CARD.replace(b"mit", b"apache-2.0")})
    then = facts_at(made, made.git.open(number), Kind.MODEL, old)
    assert "license:mit" in then.tags
    assert "license:apache-2.0" in tags(made, number)


def test_a_repository_that_is_gone_is_left_alone(made: Hub) -> None:
    refresh(made, 99)


def test_the_newest_commit_has_the_last_word(made: Hub, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pushes while an older commit is being looked at."""
    seen: list[str] = []
    git = made.git.open(number)

    def slow(hub: Hub, repo_id: int, commit: Commit) -> list[dict[str, Any]]:
        seen.append(commit.oid)
        if len(seen) == 1:
            git.commit("main", [Put("README.md", CARD)], author="eva", title="faster")
        return []

    monkeypatch.setattr(catalog, "inspect", slow)
    git.commit("main", [Put("x.txt", b"x")], author="ana", title="slower")
    refresh(made, number)
    assert len(seen) == 2
    assert record(made, "Ana/becas").head == git.resolve("main").oid
    assert "license:mit" in tags(made, number)


def move_main(hub: Hub, number: int, **files: bytes) -> str:
    """A commit after which the server ends: nothing refreshes the record."""
    changes = [Put(path.replace("__", "."), content) for path, content in files.items()]
    return hub.git.open(number).commit("main", changes, author="ana", title="push").oid


def test_a_record_that_was_left_behind_is_repaired(made: Hub, number: int) -> None:
    push(made, number, {"a.txt": b"a"})
    assert catalog.repair(made) == 0
    head = move_main(made, number, README__md=CARD)
    assert "license:mit" not in tags(made, number)
    assert catalog.repair(made) == 1
    assert record(made, "Ana/becas").head == head
    assert "license:mit" in tags(made, number)
    assert catalog.repair(made) == 0


def test_a_record_whose_branch_git_has_packed_is_repaired_too(made: Hub, number: int) -> None:
    head = move_main(made, number, README__md=CARD)
    folder = made.git.folder(number)
    (folder / "packed-refs").write_text(f"{head} refs/heads/main\n")
    (folder / "refs" / "heads" / "main").unlink()
    assert catalog.repair(made) == 1
    assert catalog.repair(made) == 0
    assert record(made, "Ana/becas").head == head


def test_what_is_damaged_keeps_nothing_else_from_being_repaired(
    made: Hub, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    repos.create(made, person(made, "Eva"), model("Eva/becas"))
    repos.create(made, person(made, "Leo"), model("Leo/becas"))
    made.git.remove(number)
    main = made.git.folder(record(made, "Leo/becas").id) / "refs" / "heads" / "main"
    main.write_text("nonsense")
    head = move_main(made, record(made, "Eva/becas").id, README__md=CARD)
    assert catalog.repair(made) == 1
    assert record(made, "Eva/becas").head == head
    assert len(caplog.messages) == 2
    assert f"number {number} cannot be read" in caplog.messages[0]


def test_a_repository_that_is_removed_meanwhile_is_no_matter(
    made: Hub, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(repo_id: int) -> None:
        repos.remove(made, person_of(made), model("Ana/becas"))

    monkeypatch.setattr(made.git, "main", gone)
    assert catalog.repair(made) == 1


def person_of(hub: Hub) -> Principal:
    with hub.database.reading() as session:
        return principal(session.scalars(select(Account).where(Account.key == "ana")).one())
