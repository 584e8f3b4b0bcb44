"""Logs as they are read: whole over a change of files, and kept for a while when a replica is gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lanza.platforms.local import logs
from lanza.platforms.local.layout import RunFolder
from lanza.platforms.local.logs import KEPT_BYTES, KEPT_OF_ENDPOINT, EndedLogs, lines


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder(tmp_path / "run")


def read(folder: RunFolder, steps: list[Callable[[], None]], *, follow: bool = True) -> list[str]:
    """All lines, with one step taken each time that the reader looks whether it is over."""

    def over() -> bool:
        if steps:
            steps.pop(0)()
            return False
        return True

    async def collect() -> list[str]:
        return [line async for line in lines(folder, follow=follow, over=over)]

    return asyncio.run(collect())


def add(folder: RunFolder, text: str) -> Callable[[], None]:
    def step() -> None:
        with folder.log.open("a") as file:
            file.write(text)

    return step


def test_lines_are_followed_over_a_change_of_files(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FOLLOW_EVERY", 0)
    folder.older_log.write_text("0\n")

    def turn() -> None:
        add(folder, "3\n")()
        folder.log.replace(folder.older_log)
        add(folder, "4\n")()

    steps = [add(folder, "1\n2"), add(folder, "\n"), turn, add(folder, "5")]
    assert read(folder, steps) == ["0", "1", "2", "3", "4", "5"]


def test_without_following_it_is_what_is_there(folder: RunFolder) -> None:
    folder.log.write_text("1\n2\n")
    assert read(folder, [add(folder, "3\n")] * 2, follow=False) == ["1", "2", "3"]
    assert read(RunFolder(folder.path / "none"), []) == []


def test_ends_of_logs_are_kept_the_newest_of_each_endpoint(tmp_path: Path, folder: RunFolder) -> None:
    kept = EndedLogs(tmp_path / "ended")
    folder.older_log.write_text("old\n")
    for number in range(KEPT_OF_ENDPOINT + 3):
        folder.log.write_text(f"{number}\n")
        kept.keep("ana/qa", f"r{number}", folder)
        path = kept.find(f"r{number}")
        assert path is not None
        assert path.read_text() == f"old\n{number}\n"
        os.utime(path, (number, number))
    assert kept.of("ana/qa") == [f"r{number}" for number in range(KEPT_OF_ENDPOINT + 2, 2, -1)]
    assert kept.of("eva/qa") == []
    assert kept.find("r0") is None


def test_of_a_long_log_whole_lines_are_kept(tmp_path: Path, folder: RunFolder) -> None:
    kept = EndedLogs(tmp_path / "ended")
    folder.log.write_bytes(b"".join(b"%07d\n" % number for number in range(KEPT_BYTES // 8 + 10)))
    kept.keep("ana/qa", "r1", folder)
    path = kept.find("r1")
    assert path is not None
    assert path.stat().st_size <= KEPT_BYTES
    assert path.read_text().startswith("0000011\n")


def test_a_replica_that_said_nothing_leaves_nothing(tmp_path: Path, folder: RunFolder) -> None:
    kept = EndedLogs(tmp_path / "ended")
    kept.keep("ana/qa", "r1", folder)
    assert kept.of("ana/qa") == []
