"""The log of a replica: bounded in files, lines and seconds, and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanza.platforms.local.keeper import log as logs
from lanza.platforms.local.keeper.log import BYTES_PER_SECOND, FILE_BYTES, KEPT_LINES, LONGEST_LINE, Log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log", tmp_path / "log.1", ["hf_secret", "two\nlines", "abc"])


def lines(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_lines_come_whole_however_they_are_cut(log: Log, tmp_path: Path) -> None:
    for part in (b"on", b"e\ntw", b"o\r\nthree"):
        log.feed(part, now=1.0)
    assert lines(tmp_path) == ["one", "two"]
    log.close()
    assert lines(tmp_path) == ["one", "two", "three"]


def test_values_that_are_secret_are_masked_where_they_stand(log: Log, tmp_path: Path) -> None:
    log.feed(b"a hf_secret here\nlines\nabc two\nhf_sec", now=1.0)
    log.feed(b"ret\n", now=1.0)
    log.close()
    # `abc` and `two` are too short to be looked for
    assert lines(tmp_path) == ["a ******** here", "********", "abc two", "********"]
    assert list(log.last) == lines(tmp_path)


def test_a_long_line_is_cut(log: Log, tmp_path: Path) -> None:
    for _ in range(5):
        log.feed(b"x" * 65536, now=1.0)
    log.feed(b"\nnext\n", now=1.0)
    assert lines(tmp_path) == ["x" * LONGEST_LINE + "…", "next"]


def test_what_is_too_much_for_a_second_is_counted(log: Log, tmp_path: Path) -> None:
    line = b"y" * 99 + b"\n"
    for _ in range(100):
        log.feed(line * 100, now=1.5)
    log.feed(b"later\n", now=2.0)
    found = lines(tmp_path)
    kept = found.count("y" * 99)
    assert kept == pytest.approx(BYTES_PER_SECOND / 100, abs=101)
    assert found[-2:] == [
        f"({10000 - kept} more lines were printed within a second and are left out)",
        "later",
    ]


def test_files_are_turned_and_never_more_than_two(log: Log, tmp_path: Path) -> None:
    for second in range(20):
        log.feed(b"z" * 1023 + b"\n", now=second)
        log.feed((b"z" * 1023 + b"\n") * 250, now=second)
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"log", "log.1"}
    assert all(size < FILE_BYTES + BYTES_PER_SECOND + 65536 for size in sizes.values())


def test_the_last_lines_are_few(log: Log) -> None:
    log.feed(b"".join(b"%d\n" % i for i in range(100)), now=1.0)
    assert list(log.last) == [str(i) for i in range(100 - KEPT_LINES, 100)]


def test_a_disk_that_is_full_costs_lines(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*what: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs.os, "write", full)
    log.feed(b"lost\n", now=1.0)
    monkeypatch.undo()
    log.feed(b"kept\n", now=1.0)
    assert list(log.last) == ["lost", "kept"]
    log.close()


def test_a_folder_that_is_gone_costs_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "gone" / "log", tmp_path / "gone" / "log.1")
    log.feed(b"said\n", now=1.0)
    log.close()
    assert list(log.last) == ["said"]
