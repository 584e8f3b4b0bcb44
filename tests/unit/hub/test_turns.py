"""Turns: one at a time, among threads and, by files, among processes."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from lanza.hub.turns import Turns


def test_threads_and_processes_take_turns(tmp_path: Path) -> None:
    # A lock belongs to an open file, so what two processes do, two of these do.
    here, there = Turns(tmp_path), Turns(tmp_path)
    inside = 0
    most = 0

    def work(turns: Turns) -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns.of("una subida"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [Thread(target=work, args=(turns,)) for turns in (here, here, there, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def test_other_names_do_not_wait(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    with turns.of("one"), turns.of("two"), Turns(tmp_path).of("three"):
        assert len(list(tmp_path.iterdir())) == 3


def test_what_raises_gives_its_turn_back(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "new")
    try:
        with turns.of("one"):
            raise ValueError
    except ValueError:
        pass
    with turns.of("one"):
        pass
