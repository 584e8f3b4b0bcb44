"""The parts of the Hub's benchmark that decide: what the files are, nginx as a Hub, ratios, verdicts."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest


def case(bench: Any, **changes: Any) -> Any:
    return bench("hub.data").Case(**{"name": "small", "files": 3, "size": 1000, **changes})


def test_the_same_seed_makes_the_same_files(bench: Any, tmp_path: Path) -> None:
    data = bench("hub.data")
    made = data.make(case(bench), tmp_path)
    assert len(set(made.digests.values())) == made.case.files == 3
    for name, digest in made.digests.items():
        content = (made.folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (1000, digest)
    assert data.make(case(bench), tmp_path / "again").digests == made.digests
    assert data.make(case(bench, name="other"), tmp_path).digests != made.digests


def test_a_case_says_what_it_is(bench: Any) -> None:
    titles = [it.title for it in bench("hub.data").WHOLE]
    assert titles == ["one file of 1024 MiB", "2,000 files of 512 KiB"]
    assert case(bench).bytes == 3000


def test_an_edit_leaves_most_of_a_file(bench: Any, tmp_path: Path) -> None:
    data = bench("hub.data")
    before = bytes(4 * data.MIB)
    path = tmp_path / "file"
    found = []
    for name in data.EDITS:
        path.write_bytes(before)
        data.edit(name, path)
        found.append(path.read_bytes())
    middle, front, end = found
    half = len(before) // 2
    assert len(middle) == len(before)
    assert middle[:half] == before[:half]
    assert middle[half : half + data.MIB].count(0) < data.MIB // 100
    assert middle[half + data.MIB :] == before[half + data.MIB :]
    assert front[1000:] == before
    assert end[: len(before)] == before
    assert len(end) == len(before) + data.MIB
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_nginx_answers_as_a_hub(bench: Any, tmp_path: Path) -> None:
    peer = bench("hub.peer")
    made = bench("hub.data").make(case(bench), tmp_path)
    commit = peer.commit_of(made)
    said = peer.answers(made)
    assert said["info.json"]["sha"] == commit
    assert {it["path"]: it["lfs"]["oid"] for it in said["tree.json"]} == made.digests
    text = peer.configuration([made], tmp_path / "nginx", 8000)
    name, digest = next(iter(made.digests.items()))
    path = urlsplit(peer.file_url("http://127.0.0.1:8000", made, name)).path
    assert f"{path} '\"{digest}\"';" in text
    assert f"location = /api/models/bench/small/tree/{commit} {{" in text
    assert f"alias {made.folder}/;" in text
    assert text.count("{") == text.count("}")


def test_what_a_client_sends_is_counted(bench: Any) -> None:
    counting = bench("hub.counting")
    counter = counting.Counter("http://127.0.0.1:1")
    (client, near), (server, far) = socket.socketpair(), socket.socketpair()
    passing = Thread(target=counting.connect, args=(near, far, counter))
    passing.start()
    with client, server:
        client.sendall(b"x" * 700)
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: server.recv(100), b"")) == b"x" * 700
        server.sendall(b"y" * 50)
        server.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"y" * 50
    passing.join()
    assert counter.take() == 700
    assert counter.take() == 0


def test_a_program_that_fails_measures_nothing(bench: Any) -> None:
    clients = bench("hub.clients")
    turn = clients.run([sys.executable, "-c", "pass"])
    assert turn.record().keys() == {"seconds", "cpu"}
    with pytest.raises(clients.TurnFailed, match="ended with 3: no disk"):
        clients.run([sys.executable, "-c", "import sys; print('no disk'); sys.exit(3)"])


def test_a_client_has_nothing_set_but_the_hub(bench: Any, tmp_path: Path) -> None:
    client = bench("hub.clients").Client(url="http://127.0.0.1:1", home=tmp_path, token="secret")
    found = client.environment()
    assert {name for name in found if name.startswith("HF_")} == {
        "HF_HOME",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_DISABLE_UPDATE_CHECK",
    }
    by_lfs = bench("hub.clients").Client(url="http://127.0.0.1:1", home=tmp_path, xet=False)
    assert by_lfs.environment()["HF_HUB_DISABLE_XET"] == "1"
    assert "HF_TOKEN" not in by_lfs.environment()


def turn(seconds: float, **more: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu": 1.0, **more}


def figures(copy: float, push: float, pull: float) -> dict[str, Any]:
    return {
        "copy": turn(copy, unsynced=copy / 2),
        "push_lfs": turn(push, server_cpu=2.0),
        "push_xet": turn(2 * push, server_cpu=2.0),
        "pull_lanza": turn(pull),
        "pull_nginx": turn(2.0),
        "curl_lanza": turn(1.0),
        "curl_nginx": turn(0.5),
    }


def results(**changes: Any) -> dict[str, Any]:
    rounds = [figures(2, 2, 2.5), figures(4, 2, 2.0), figures(6, 2, 4.0)]
    small = [{name: it for name, it in each.items() if not name.startswith("curl")} for each in rounds]
    machine = {
        "cpu": "A CPU",
        "cpu_model": "model 1",
        "instructions": ["avx2"],
        "cores": 2,
        "virtual": True,
        "memory_gib": 4.0,
        "governor": "unknown",
        "system": "Linux",
        "python": "3.11",
        "packages": {"lanza": "0.1"},
        "programs": ["nginx/1.22"],
    }
    return {
        "started": "2026-01-01T00:00:00+00:00",
        "machine": machine,
        "busy": False,
        "load_average": 0.1,
        "rounds": 3,
        "stolen_seconds": 0.0,
        "took_seconds": 600,
        "cases": [
            {"name": "large", "title": "one file", "files": 1, "bytes": 2**30, "rounds": rounds},
            {"name": "small", "title": "many files", "files": 9, "bytes": 2**20, "rounds": small},
        ],
        "second_pushes": [
            {"edit": "changed", "sent": 49, "size": 1000},
            {"edit": "rewritten", "sent": 51, "size": 1000},
        ],
        "listing": None,
        **changes,
    }


def test_speeds_are_compared_within_a_round(bench: Any) -> None:
    found = {(it.where, it.goal.what): it for it in bench("hub.report").verdicts(results())}
    report = bench("hub.report")
    by_lfs = found["one file", report.PUSH_LFS.what].spread
    assert (by_lfs.least, by_lfs.middle, by_lfs.most) == (1.0, 2.0, 3.0)
    assert found["one file", report.PUSH.what].spread.middle == 1.0
    assert found["one file", report.PULL.what].spread.middle == 0.8
    assert found["one file", report.PULL.what].met
    assert found["one file", report.CURL.what].spread.middle == 0.5
    assert ("many files", report.PUSH.what) in found
    assert ("many files", report.PULL.what) not in found
    assert ("many files", report.CURL.what) not in found


def test_what_a_second_push_sends_is_held_against_the_file(bench: Any) -> None:
    said = {it.where: it.met for it in bench("hub.report").verdicts(results())}
    assert (said["changed"], said["rewritten"]) == (True, False)


def test_of_lists_the_worst_is_held_against_the_goal(bench: Any) -> None:
    def query(ratio: float) -> dict[str, Any]:
        return {
            "milliseconds": [1, ratio],
            "listed": [5, 9],
            "ratio": ratio,
            "least": ratio,
            "most": ratio + 1,
        }

    queries = {"a tag": query(1.2), "a name": query(3.5), "all": query(2.0)}
    given = results(listing={"sizes": [100, 100_000], "database": "SQLite", "queries": queries})
    worst = bench("hub.report").verdicts(given)[-1]
    assert worst.row == (
        "100,000 repositories, not 100: worst of all, a name",
        "first page, times what it takes with fewer",
        "≤ 3.00",
        "3.50 (3.50–4.50)",
        "**no**",
    )
    page = "\n".join(bench("hub.report").page(given))
    assert "| a tag | 1.00 (of 5) | 1.20 (of 9) | 1.20 (1.20–2.20) |" in page


def test_the_page_has_every_turn_and_names_what_was_missed(bench: Any) -> None:
    page = "\n".join(bench("hub.report").page(results(busy=True)))
    assert "1 of 8 goals were missed" in page
    assert "take these figures for nothing" in page
    assert "| rewritten | bytes sent by a second push, of the file's | ≤ 0.0500 | 0.0510" in page
    assert "| **pull**, `hf download` | 2.50 (2.00–4.00) | 410 | 1.00 |  | 0.80 (0.50–1.00) |" in page
    assert "### Many files" in page
    assert "nginx/1.22; lanza 0.1" in page


def test_the_page_in_the_repository_has_the_marks(bench: Any, tmp_path: Path) -> None:
    report = bench("hub.report")
    source = Path(__file__).parents[3] / "docs" / "benchmarks.md"
    page = tmp_path / "page.md"
    page.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    report.MARKS.write(page, report.page(json.loads(json.dumps(results()))))
    text = page.read_text(encoding="utf-8")
    assert bench("report").MARKS.begin in text
    assert "### The Hub against its goals" in text
