"""Lives of replicas on this machine: started, ready, stopped, dead; found again by the next server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanza.convert.store import Store
from lanza.endpoints.states import Phase
from local_replicas import SERVER, Machine, ask, keeper_of, left_of, machine, processes_of, program, run
from serving import ROOT, export_here
from tiny import bert

EXAMPLE = ROOT / "examples" / "becas-qa"
QUESTION = {"inputs": {"question": "¿De cuánto es?", "context": "La beca es de 300 euros al mes."}}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "data") as it:
        yield it


def test_a_model_is_prepared_served_and_stopped(here: Machine) -> None:
    sight = here.ready(folder=EXAMPLE)
    status, body = ask(sight, body=QUESTION)
    assert status == 200
    assert b"300" in body
    assert sight.address is not None
    assert sight.address.startswith("unix:")
    ended = here.stop(sight.id)
    assert (ended.reason, ended.failed, ended.address) == ("it was told to stop", False, None)
    assert ended.ended_at is not None
    assert not left_of(sight.id)
    assert here.logs(sight.id)[0].startswith("lanza: served by onnx: ")
    # A second start asks what the first has found out.
    kept = list((here.platform._places.prepared).iterdir())
    again = here.ready(folder=EXAMPLE)
    assert list((here.platform._places.prepared).iterdir()) == kept
    assert ask(again, body=QUESTION)[0] == 200


def test_a_program_gets_a_port_and_an_environment_of_its_own(here: Machine) -> None:
    os.environ["NOT_FOR_REPLICAS"] = "1"
    try:
        sight = here.ready(program=program(), environment={"GREETING": "hola"})
    finally:
        del os.environ["NOT_FOR_REPLICAS"]
    names = run(sight, "result = dict(os.environ)")
    assert names.pop("GREETING") == "hola"
    assert sight.address == f"http://127.0.0.1:{names.pop('PORT')}"
    expected = {"HOME", "LANG", "PATH", "TMPDIR", "LANZA_REPLICA", "OMP_NUM_THREADS"}
    assert set(names) - {"LC_CTYPE", "PWD"} == expected
    assert run(sight, "result = sys.argv[1]") == sight.address.rpartition(":")[2]


def test_two_of_a_kind_run_side_by_side(here: Machine) -> None:
    one, two = here.start(program=program()), here.start(program=program())
    addresses = {here.until(it, Phase.READY).address for it in (one, two)}
    assert len(addresses) == 2


def test_an_order_that_runs_already_changes_nothing(here: Machine) -> None:
    order = here.order(program=program())
    for _ in range(2):
        here.loop.run_until_complete(here.platform.start(order))
    here.until(order.id, Phase.READY)
    assert list(here.sights()) == [order.id]


def test_the_server_is_told_at_once(here: Machine) -> None:
    told: list[float] = []

    async def listen() -> None:
        here.platform.listen(lambda: told.append(time.monotonic()))

    here.loop.run_until_complete(listen())
    here.ready(program=program())
    here.sights()
    assert told


def test_a_replica_that_is_killed_is_only_gone(here: Machine) -> None:
    sight = here.ready(program=program())
    inside = [pid for pid, words in processes_of(sight.id).items() if words.split()[0].endswith("python")]
    for pid in inside:
        if pid != keeper_of(sight.id):
            os.kill(pid, signal.SIGKILL)
    ended = here.gone(sight.id, patience=10)
    assert (ended.failed, ended.reason) == (False, "somebody killed it (SIGKILL)")


def test_with_its_keeper_a_replica_dies(here: Machine) -> None:
    sight = here.ready(program=program())
    run(sight, "import subprocess; subprocess.Popen(['sleep', '1000']); result = 1")
    mine = processes_of(sight.id)
    os.kill(keeper_of(sight.id), signal.SIGKILL)
    ended = here.gone(sight.id, patience=10)
    assert (ended.failed, ended.reason) == (False, "its keeper was killed")
    assert len(mine) > 2
    assert not left_of(sight.id)


def test_stopping_lets_the_last_requests_end(here: Machine) -> None:
    slow = (
        "import os, signal, time, threading, http.server\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'x')\n"
        "def late(*what):\n"
        "    print('draining', flush=True); time.sleep(0.5); print('drained', flush=True); os._exit(0)\n"
        "signal.signal(signal.SIGTERM, late)\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
    )
    sight = here.ready(program=program(slow))
    here.loop.run_until_complete(here.platform.stop(sight.id, drain=30))
    assert here.until(sight.id, Phase.DRAINING).address == sight.address
    here.gone(sight.id, patience=10)
    assert "drained" in here.logs(sight.id)


def test_one_that_does_not_stop_is_killed(here: Machine) -> None:
    sight = here.ready(
        program=program(SERVER.replace("threading.Thread(target=server.shutdown).start()", "0"))
    )
    ended = here.stop(sight.id, drain=0.3)
    assert ended.reason == "it was told to stop, and was killed when its time for that was over"
    assert not ended.failed


def test_stopping_one_that_starts_ends_it_at_once(here: Machine) -> None:
    replica = here.start(program=program("import time; time.sleep(1000)"))
    assert here.stop(replica, drain=30).reason == "it was told to stop"


def test_unknown_replicas_are_gone_already(here: Machine) -> None:
    here.loop.run_until_complete(here.platform.stop("nobody", drain=1))
    here.forget("nobody")


def test_the_next_server_finds_what_runs(tmp_path: Path) -> None:
    first = Machine(tmp_path / "data")
    sight = first.ready(program=program())
    first.close()
    with machine(tmp_path / "data") as second:
        found = second.sight(sight.id)
        assert (found.phase, found.address) == (Phase.READY, sight.address)
        assert ask(found)[0] == 200
        assert second.stop(sight.id).reason == "it was told to stop"


def test_without_a_server_replicas_end_by_themselves(tmp_path: Path) -> None:
    first = Machine(tmp_path / "data", orphan_after=1.0)
    sight = first.ready(program=program())
    first.close()
    assert not left_of(sight.id, patience=20)
    with machine(tmp_path / "data") as second:
        ended = second.sight(sight.id)
        assert (ended.phase, ended.failed) == (Phase.GONE, False)
        assert "no server has looked after it for 1 s" in ended.reason


def test_logs_are_read_followed_and_kept(here: Machine) -> None:
    sight = here.ready(program=program("print('uno'); print('dos')\n" + SERVER))
    assert here.logs(sight.id) == ["uno", "dos"]
    here.stop(sight.id)
    assert here.logs(sight.id, follow=True)[:2] == ["uno", "dos"]
    here.forget(sight.id)
    assert here.sights() == {}
    assert here.platform.ended("ana/prueba") == [sight.id]
    assert here.logs(sight.id)[:2] == ["uno", "dos"]
    assert here.platform.ended("ana/otra") == []


def test_a_data_folder_may_lie_deep(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with machine(deep / "data") as it:
        sight = it.ready(folder=EXAMPLE)
        assert len(str(sight.address)) < 107
        assert ask(sight, body=QUESTION)[0] == 200


SERVER_THAT_DIES = """
import asyncio, os, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from local_replicas import Machine, program
here = Machine(Path(sys.argv[1]), orphan_after=20.0)
print(here.ready(program=program()).id, flush=True)
time.sleep(600)
"""


def test_kill_9_of_the_server_leaves_replicas_serving(tmp_path: Path) -> None:
    data = tmp_path / "data"
    words = [sys.executable, "-c", SERVER_THAT_DIES, str(data), str(ROOT / "tests")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        replica = server.stdout.readline().strip()
        server.kill()
    assert server.returncode == -signal.SIGKILL
    with machine(data) as here:
        found = here.sight(replica)
        assert found.phase is Phase.READY
        assert ask(found)[0] == 200


@pytest.mark.timeout(600)  # two exports by processes that load torch
def test_a_model_is_converted_before_its_first_start(here: Machine, tmp_path: Path) -> None:
    told: list[str] = []
    replica = here.start(folder=bert(tmp_path / "model"), start_timeout=500)
    while (sight := here.sight(replica)).phase is not Phase.READY:
        assert sight.phase is Phase.STARTING, sight
        if sight.progress and sight.progress not in told:
            told.append(sight.progress)
        time.sleep(0.05)
    assert "loading the original" in told
    assert any(step.startswith("exporting with ") for step in told)
    assert sight.progress == ""
    assert ask(sight, body={"inputs": "una beca"})[0] == 200
    assert b'"onnx"' in ask(sight, "/info")[1]


def test_what_was_converted_is_served_from_where_it_is_kept(here: Machine, tmp_path: Path) -> None:
    folder = bert(tmp_path / "model")
    export_here(folder, Store(here.platform._places.converted))
    first = here.ready(folder=folder)
    status, body = ask(first, body={"inputs": "una beca"})
    assert status == 200
    assert b'"onnx"' in ask(first, "/info")[1]
    here.stop(first.id)
    again = here.ready(folder=folder)
    assert ask(again, body={"inputs": "una beca"})[1] == body
    here.stop(again.id)


def test_a_handler_with_packages_of_its_own_keeps_them_for_the_next_start(
    here: Machine, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "requirements.txt").write_text("numpy\n")  # which we have: nothing is fetched
    (folder / "handler.py").write_text(
        "import sys\nclass EndpointHandler:\n    def __init__(self, path): pass\n"
        "    def __call__(self, data): return sys.prefix\n"
    )
    first = here.ready(folder=folder)
    prefix = json.loads(ask(first, body={"inputs": ""})[1])
    assert prefix.startswith(str(here.platform._places.home("ana/prueba") / "envs"))
    here.stop(first.id)
    again = here.ready(folder=folder)
    assert json.loads(ask(again, body={"inputs": ""})[1]) == prefix
    assert not any("installing" in line for line in here.logs(again.id))


def test_a_replica_whose_folder_is_removed_ends(tmp_path: Path) -> None:
    first = Machine(tmp_path / "data")
    sight = first.ready(program=program())
    shutil.rmtree(tmp_path / "data")
    assert not left_of(sight.id, patience=20)
    first.close()


def test_a_folder_without_a_keeper_is_gone(here: Machine) -> None:
    """A server that died between two steps, or a file system that was damaged."""
    made = here.folder("half")
    made.mkdir()
    ended = here.sight("half")
    assert (ended.phase, ended.reason) == (Phase.GONE, "its keeper could not begin")
    here.forget("half")
    assert here.sights() == {}


def test_a_keeper_that_fails_is_named(here: Machine) -> None:
    sight = here.ready(program=program())
    (here.folder(sight.id) / "keeper.log").write_text("Traceback ...\nMemoryError\n")
    os.kill(keeper_of(sight.id), signal.SIGKILL)
    ended = here.gone(sight.id, patience=10)
    assert (ended.failed, ended.reason) == (True, "its keeper failed: MemoryError")


def test_the_cores_that_a_replica_uses_are_seen(here: Machine) -> None:
    sight = here.ready(program=program())
    run(
        sight,
        "def burn():\n while True: pass\nthreading.Thread(target=burn, daemon=True).start(); result = 1",
    )
    until = time.monotonic() + 20
    while here.sight(sight.id).cpu < 0.2 and time.monotonic() < until:
        time.sleep(0.05)
    seen = here.sight(sight.id)
    assert 0.2 <= seen.cpu <= 1.0
    assert seen.memory > 5 * 2**20
