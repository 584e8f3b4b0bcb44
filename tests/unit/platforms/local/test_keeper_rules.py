"""What a keeper concludes: from answers to looks, from /proc, from the way a process ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lanza.platforms.local.keeper.answers import Answers, known, remember
from lanza.platforms.local.keeper.ending import (
    LONGEST,
    by_itself,
    exit_status,
    size,
    while_prepared,
    with_last_lines,
)
from lanza.platforms.local.keeper.probe import EVERY, EVERY_STARTING, Health, judge
from lanza.platforms.local.keeper.processes import PAGE, Process, below, parse, used


@pytest.mark.parametrize(
    ("head", "wrong"),
    [
        (b"HTTP/1.1 200 OK\r\n", ""),
        (b"HTTP/1.0 200\n", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n", "the answer was 503"),
        (b"HTTP/1.1 302 Found\r\n", "the answer was 302"),
        (b"", "the connection was closed without an answer"),
        (b"\n", "what answered does not speak HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what answered does not speak HTTP"),
        (b"HTTP/1.1 abc\r\n", "what answered does not speak HTTP"),
        (b"HTTP/1.1 2\xb2\r\n", "what answered does not speak HTTP"),
        (b"\x00" * 5000, "what answered does not speak HTTP"),
    ],
)
def test_judge(head: bytes, wrong: str) -> None:
    assert judge(head) == wrong


def test_three_failures_in_a_row_after_the_first_200_are_unhealthy() -> None:
    health = Health()
    assert not any(health.learn("nobody listens there") for _ in range(100))
    assert not health.unhealthy
    assert health.pause == EVERY_STARTING
    assert health.learn("")
    assert not health.learn("")
    assert health.pause == EVERY
    for outcome in ("late", "late", "", "late", "late"):
        assert not health.learn(outcome)
        assert not health.unhealthy
    health.learn("late")
    assert health.unhealthy


def test_parse_reads_names_that_hold_anything() -> None:
    line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 999 4096 25 18446744073709551615"
    assert parse(line) == Process(
        pid=42, parent=7, started=999, threads=3, seconds=2.0, memory=25 * PAGE, ended=False
    )
    assert parse(line.replace(") S 7", ") Z 7")).ended


def process(pid: int, parent: int, **changes: object) -> Process:
    values: dict[str, object] = {"started": 0, "threads": 1, "seconds": 0.5, "memory": 10}
    return Process(pid=pid, parent=parent, **{**values, **changes})  # type: ignore[arg-type]


def test_below_finds_descendants_only() -> None:
    all_of_them = [process(1, 0), process(2, 1), process(3, 2), process(4, 3), process(5, 1)]
    assert [it.pid for it in below(2, all_of_them)] == [3, 4]
    assert below(9, all_of_them) == []


def test_what_has_ended_uses_nothing() -> None:
    sums = used([process(2, 1, threads=3), process(3, 1), process(4, 1, ended=True)])
    assert (sums.processes, sums.tasks, sums.seconds, sums.memory) == (2, 4, 1.0, 20)


@pytest.mark.parametrize(
    ("status", "wrapped", "code"),
    [
        (0, True, 0),
        (3 << 8, True, 3),
        (9, True, -9),
        (137 << 8, True, -9),
        (137 << 8, False, 137),
        (15, False, -15),
    ],
)
def test_exit_status(status: int, wrapped: bool, code: int) -> None:
    assert exit_status(status, wrapped=wrapped) == code


@pytest.mark.parametrize(
    ("code", "ready", "starved", "reason", "failed"),
    [
        (0, True, False, "it ended with status 0", True),
        (1, False, False, "it ended with status 1 before it was ready", True),
        (-signal.SIGSEGV, True, False, "it was ended by SIGSEGV", True),
        (-63, True, False, "it was ended by signal 63", True),
        (-signal.SIGKILL, True, False, "somebody killed it (SIGKILL)", False),
        (-signal.SIGKILL, False, False, "it was killed (SIGKILL) before it was ready", True),
        (-signal.SIGKILL, True, True, "the system killed it, for this machine has run out of memory", True),
    ],
)
def test_an_end_by_itself(code: int, ready: bool, starved: bool, reason: str, failed: bool) -> None:
    ended = by_itself(code, ready=ready, starved=starved)
    assert (ended.reason, ended.failed) == (reason, failed)
    assert ended.killed == (code == -signal.SIGKILL and not ready and not starved)


def test_a_job_that_is_killed_is_not_begun_again_without_a_pause() -> None:
    ended = while_prepared(-signal.SIGKILL, starved=False)
    assert (ended.reason, ended.failed, ended.killed) == (
        "while it was prepared, it was killed (SIGKILL)",
        True,
        True,
    )
    ended = while_prepared(1, starved=False)
    assert (ended.reason, ended.killed) == ("while it was prepared, it ended with status 1", False)


def test_a_reason_quotes_the_newest_lines_that_find_room() -> None:
    assert with_last_lines("why", []) == "why"
    assert with_last_lines("why", ["a", "b"]) == "why; it said last:\n    a\n    b"
    long = with_last_lines("why", [f"{i} " + "x" * 300 for i in range(50)])
    assert len(long) < LONGEST + 100
    assert long.splitlines()[-1].startswith("    49 ")


def test_size() -> None:
    assert (size(2.5 * 2**30), size(300 * 2**20)) == ("2.5 GiB", "300 MiB")


def test_answers_are_lines_of_json_between_others() -> None:
    steps: list[str] = []
    answers = Answers(steps.append)
    for part in (
        b'noise\n{"step": "load',
        b'ing"}\n[1]\n{"prepared": 3}\n',
        b'{"prepared": {"engine": "onnx"}}\n',
    ):
        answers.hear(part)
    assert (steps, answers.prepared, answers.error) == (["loading"], {"engine": "onnx"}, "")
    answers.hear(b'{"error": "no"}\n' + b"x" * 10**6)
    assert answers.error == "no"


def test_an_answer_is_kept_for_as_long_as_its_graph_is_there(tmp_path: Path) -> None:
    kept, graph = tmp_path / "prepared" / "a.json", tmp_path / "model.onnx"
    graph.touch()
    assert known(kept) is None
    answer = {"engine": "onnx", "why": "", "task": None, "graph": None, "needs": 7}
    for found in (answer, {**answer, "graph": str(graph)}):
        remember(kept, found)
        assert known(kept) == found
    graph.unlink()
    assert known(kept) is None
    for damaged in ("", "[]", "{", "3", '{"engine": "onnx", "graph": null}'):
        kept.write_text(damaged)
        assert known(kept) is None
