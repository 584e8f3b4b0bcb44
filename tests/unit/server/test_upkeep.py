"""What the server does by itself: when, once at a time, and whatever fails."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hub_app import Server
from lanza.errors import UsageError
from lanza.hub.git import Put
from lanza.server import upkeep
from lanza.server.folder import DataFolder
from lanza.server.upkeep import Upkeep

DAY = 86_400


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> DataFolder:
    return DataFolder(path=tmp_path / "data")


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "lanza")
    return lambda: [message for message in caplog.messages if "collected" in message]


def made(server: Server, folder: DataFolder, days: float | None = 1, *, at: float = 0) -> Upkeep:
    """Upkeep that looks at a clock which is `at` seconds ahead, and leaves nothing to chance."""
    every = None if days is None else timedelta(days=days)
    return Upkeep(
        server.hub, folder, every=every, clock=lambda: time.time() + at, chance=lambda least, most: most
    )


def test_it_collects_when_the_last_time_is_long_enough_ago(
    server: Server, folder: DataFolder, messages: Callable[[], list[str]]
) -> None:
    made(server, folder).look()  # the first look of all: nothing was collected, and nothing has to be yet
    made(server, folder, at=DAY - 60).look()
    assert messages() == []
    made(server, folder, at=DAY + 60).look()
    assert len(messages()) == 1
    assert messages()[0].startswith("collected in ")
    os.utime(folder.path / "collect.lock", (0, 0))
    made(server, folder).look()
    made(server, folder).look()  # it has just been done
    assert len(messages()) == 2


def test_it_is_never_time_when_it_is_turned_off(
    server: Server, folder: DataFolder, messages: Callable[[], list[str]]
) -> None:
    made(server, folder, None, at=1000 * DAY).look()
    assert messages() == []


def test_it_leaves_collecting_to_who_does_it_already(
    server: Server, folder: DataFolder, messages: Callable[[], list[str]]
) -> None:
    with folder.collecting():
        made(server, folder, at=2 * DAY).look()
    assert messages() == ["not collected: what nobody needs is being collected just now: try again later."]


def test_only_one_collects(folder: DataFolder) -> None:
    with folder.collecting(), pytest.raises(UsageError, match="just now"), folder.collecting():
        pass
    with folder.collecting():
        pass


def test_a_collection_that_fails_counts_as_none(folder: DataFolder) -> None:
    before = folder.collected_at
    os.utime(folder.path / "collect.lock", (0, 0))
    with pytest.raises(KeyError), folder.collecting():
        raise KeyError
    assert folder.collected_at == 0
    with folder.collecting():
        pass
    assert folder.collected_at >= before


def test_every_look_repairs_what_is_behind(server: Server, folder: DataFolder) -> None:
    token = server.user("ana")
    server.make(token, "becas")
    card = Put("README.md", b"---\nlicense: mit\n---\n")
    server.hub.git.open(1).commit("main", [card], author="ana", title="card")
    assert server.ask("/api/models?filter=license:mit").json == []
    made(server, folder, None).look()
    assert [it["id"] for it in server.ask("/api/models?filter=license:mit").json] == ["ana/becas"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), UsageError("a reason")])
def test_what_fails_is_logged_and_ends_nothing(
    server: Server,
    folder: DataFolder,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(hub: object) -> int:
        raise error

    monkeypatch.setattr(upkeep.catalog, "repair", fail)
    made(server, folder).look()
    assert str(error) in caplog.text


def test_a_thread_looks_until_it_is_stopped(
    server: Server, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK", 0.0)
    looking = made(server, folder)
    looks = iter(range(3))

    def look() -> None:
        if next(looks, None) is None:
            looking._stopping.set()

    monkeypatch.setattr(looking, "look", look)
    looking.start()
    looking._thread.join(60)
    looking.stop()
    assert not looking._thread.is_alive()
