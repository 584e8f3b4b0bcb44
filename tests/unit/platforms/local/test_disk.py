"""Who has filled the disk is found; who has not is left alone."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lanza.platforms.local.keeper import disk
from lanza.platforms.local.keeper.disk import AGAIN_AFTER, Disk, DiskFull, written


def leave(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    seen = SimpleNamespace(f_bavail=blocks, f_frsize=2**20)
    monkeypatch.setattr(disk.os, "statvfs", lambda place: seen)


def test_bytes_on_the_disk_count_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"x" * 10000)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    os.truncate(tmp_path / "a" / "b" / "f", 10000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert 10000 <= written(tmp_path) < 100_000
    assert written(tmp_path / "none") == 0


def test_who_wrote_much_is_ended_when_little_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"x" * 200_000)
    monkeypatch.setattr(disk, "MUCH", 100_000)
    mine = Disk([tmp_path, tmp_path / "none"])
    leave(monkeypatch, 1024)
    mine.look(1.0)
    leave(monkeypatch, 300)
    with pytest.raises(DiskFull, match=r"the disk has 300 MiB left, and it has written \d+ MiB") as raised:
        mine.look(2.0)
    assert raised.value.failed


def test_who_wrote_little_is_not_and_is_not_counted_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 0)
    counted: list[Path] = []
    monkeypatch.setattr(disk, "written", lambda place: counted.append(place) or 0)
    mine = Disk([tmp_path])
    for moment in (1.0, 1.5, 1.0 + AGAIN_AFTER):
        mine.look(moment)
    assert len(counted) == 2


def test_a_folder_that_is_gone_is_others_business(tmp_path: Path) -> None:
    Disk([tmp_path / "none"]).look(1.0)
