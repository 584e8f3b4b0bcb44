"""Replicas that misbehave: each comes to the end that it deserves, with a reason that has the figures."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanza.endpoints.platform import Program, Sight
from lanza.endpoints.states import Phase
from lanza.errors import BadRequest, ModelError, NoRoom
from local_replicas import MIB, SERVER, Machine, instance, left_of, machine, program, run
from serving import ROOT

HANDLER = """
import os, subprocess, sys, time

class EndpointHandler:
    def __init__(self, path):
        {at_start}

    def __call__(self, data):
        {when_called}
        return data
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path / "data") as it:
        yield it


def handler(folder: Path, *, at_start: str = "pass", when_called: str = "pass") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "handler.py").write_text(HANDLER.format(at_start=at_start, when_called=when_called))
    return folder


def failed(sight: Sight) -> str:
    assert sight.phase is Phase.GONE
    assert sight.failed
    return sight.reason


def test_a_handler_that_raises_at_import_is_named(here: Machine, tmp_path: Path) -> None:
    folder = handler(tmp_path / "m")
    (folder / "handler.py").write_text("raise RuntimeError('no such weights')\n")
    reason = failed(here.gone(here.start(folder=folder)))
    assert reason.startswith("it ended with status 2 before it was ready; it said last:")
    assert "RuntimeError: no such weights" in reason


def test_a_handler_that_sleeps_for_ever_at_start_runs_out_of_time(here: Machine, tmp_path: Path) -> None:
    folder = handler(tmp_path / "m", at_start="print('sleeping', flush=True); time.sleep(10**6)")
    reason = failed(here.gone(here.start(folder=folder, start_timeout=6)))
    assert reason.startswith("it was not ready within 6 s (GET /health: the answer was 503)")


def test_a_handler_that_exits_at_start_is_named(here: Machine, tmp_path: Path) -> None:
    folder = handler(tmp_path / "m", at_start="os._exit(3)")
    reason = failed(here.gone(here.start(folder=folder)))
    assert "its process ended with status 3 while it loaded" in reason


def test_a_folder_that_says_nothing_is_refused_by_its_preparation(here: Machine, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("nothing")
    reason = failed(here.gone(here.start(folder=tmp_path / "m")))
    assert reason.startswith("nothing in")
    assert "tells what it is for" in reason
    assert "\n" not in reason


def test_printing_costs_neither_disk_nor_memory(here: Machine) -> None:
    noisy = "line = b'x' * 1023 + b'\\n'\nfor i in range(300 * 2**10): os.write(1, line)\nprint('done')\n"
    sight = here.ready(program=program("import os\n" + noisy + SERVER))
    kept = [path.stat().st_size for path in here.folder(sight.id).glob("log*")]
    assert sum(kept) < 3 * MIB
    left_out = re.compile(r"\([0-9]+ more lines were printed within a second and are left out\)")
    deadline = time.monotonic() + 10  # it is said once that second is over
    while not any(left_out.fullmatch(it) for it in here.logs(sight.id)):
        assert time.monotonic() < deadline, here.logs(sight.id)[-5:]
        time.sleep(0.1)


def test_one_line_without_an_end_is_cut(here: Machine) -> None:
    noisy = "import os\nfor i in range(2000): os.write(1, b'y' * 65536)\nprint()\n"
    sight = here.ready(program=program(noisy + SERVER))
    assert [len(line) for line in here.logs(sight.id)] == [4097]


def test_memory_over_the_limit_ends_it_with_the_figures(here: Machine) -> None:
    sight = here.ready(program=program(), instance=instance(memory_bytes=128 * MIB))
    with pytest.raises((AssertionError, OSError, ValueError, IndexError)):
        run(sight, "blob = bytearray(300 * 2**20); time.sleep(10); result = 1")
    reason = failed(here.gone(sight.id))
    found = re.match(
        r"it took (\d+) MiB of memory, and cpu-x1 has 128 MiB: choose an instance with more", reason
    )
    assert found
    assert int(found[1]) >= 128


def test_memory_of_children_counts_and_what_they_share_counts_once(here: Machine) -> None:
    sight = here.ready(program=program(), instance=instance(memory_bytes=256 * MIB))
    fork = "for i in range(4):\n if os.fork() == 0: time.sleep(60); os._exit(0)"
    # 100 MiB, in five processes
    assert run(sight, f"blob = bytearray(100 * 2**20)\n{fork}\ntime.sleep(1); result = 1") == 1
    assert here.sight(sight.id).phase is Phase.READY
    own = "import time; b = bytearray(60 * 2**20); time.sleep(60)"
    start = f"for i in range(4): subprocess.Popen([sys.executable, '-c', '{own}'])"
    run(sight, f"import subprocess\n{start}\nresult = 1")
    assert "of memory, and cpu-x1 has 256 MiB" in failed(here.gone(sight.id))


def test_too_many_processes_end_it(here: Machine) -> None:
    sight = here.ready(program=program())
    bomb = "def go():\n while True:\n  if os.fork() == 0: time.sleep(600)"
    run(sight, f"{bomb}\nthreading.Thread(target=go).start(); result = 1")
    reason = failed(here.gone(sight.id))
    assert re.match(r"it had [\d,]+ processes and threads, and at most 1,024 are allowed", reason)
    assert not left_of(sight.id)


def test_one_that_exits_when_ready_says_so(here: Machine) -> None:
    sight = here.ready(program=program())
    with pytest.raises((OSError, ValueError, IndexError)):
        run(sight, "print('farewell', flush=True); os._exit(7)")
    reason = failed(here.gone(sight.id))
    assert reason == "it ended with status 7; it said last:\n    farewell"


def test_health_that_never_comes(here: Machine) -> None:
    reason = failed(here.gone(here.start(program=program("import time; time.sleep(600)"), start_timeout=0.5)))
    assert reason == "it was not ready within 0.5 s (GET /health: nobody listens there)"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\\x00\\xffnonsense\\n", "what answered does not speak HTTP"),
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 404 Not Found\\r\\n\\r\\n", "the answer was 404"),
        (b"HTTP/1.1 ", "what answered does not speak HTTP"),
    ],
)
def test_health_that_is_garbage(here: Machine, answer: bytes, said: str) -> None:
    source = (
        "import os, socket\ns = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n"
        f"while True:\n c, _ = s.accept(); c.recv(4096); c.sendall(b'{answer.decode()}'); c.close()\n"
    )
    reason = failed(here.gone(here.start(program=program(source), start_timeout=2)))
    assert reason == f"it was not ready within 2 s (GET /health: {said})"


def test_health_that_is_lost_ends_it(here: Machine) -> None:
    sight = here.ready(program=program())
    run(sight, "Handler.do_GET = lambda self: self.send_error(500); result = 1")
    reason = failed(here.gone(sight.id))
    assert reason.startswith("it was ended, as GET /health failed 3 times in a row: the answer was 500")


def test_its_own_health_route_is_asked(here: Machine) -> None:
    picky = SERVER.replace(
        'status, body = 200, b"ok"', "status, body = (200, b'ok') if path == '/v1/alive' else (404, b'')"
    )
    here.ready(program=program(picky, health_route="/v1/alive"))


def test_a_port_that_is_taken_is_named(here: Machine) -> None:
    first = here.ready(program=program())
    assert first.address is not None
    port = int(first.address.rpartition(":")[2])
    reason = failed(here.gone(here.start(program=program(port=port))))
    assert (
        reason
        == f"port {port} is taken by another program: write {{port}} into the command to get a free one"
    )


def test_a_program_that_is_not_there_is_refused(here: Machine) -> None:
    with pytest.raises(ModelError, match="there is no program 'no-such-program' on this machine"):
        here.start(program=Program(words=("no-such-program", "{port}"), port=80, health_route="/"))
    assert here.sights() == {}


def test_secrets_are_masked_in_logs_and_reasons(here: Machine) -> None:
    names = ("TOKEN", "KEY", "MODE")
    source = (
        "import os\n"
        + "".join(f"print('{it} is', os.environ['{it}'])\n" for it in names)
        + "raise SystemExit(1)"
    )
    values = {"TOKEN": "hf_abcdefgh", "KEY": "-----BEGIN\nline-two-of-key\n-----END", "MODE": "production"}
    replica = here.start(program=program(source), environment=values, secrets=frozenset({"TOKEN", "KEY"}))
    reason = failed(here.gone(replica))
    assert "TOKEN is ********" in reason
    assert "production" in reason
    for hidden in ("hf_abcdefgh", "line-two-of-key"):
        assert hidden not in reason
        assert hidden not in "\n".join(here.logs(replica))
    here.forget(replica)
    data = here.platform._places.data
    texts = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    assert not any(b"hf_abcdefgh" in text for text in texts)


def test_no_secret_lies_in_a_file_or_a_command_line(here: Machine) -> None:
    sight = here.ready(program=program(), environment={"TOKEN": "hf_abcdefgh"}, secrets=frozenset({"TOKEN"}))
    files = [path.read_bytes() for path in here.platform._places.data.rglob("*") if path.is_file()]
    assert not any(b"hf_abcdefgh" in text for text in files)
    lines = [it.read_bytes() for it in Path("/proc").glob("[0-9]*/cmdline") if it.exists()]
    assert not any(b"hf_abcdefgh" in line for line in lines)
    assert run(sight, "result = os.environ['TOKEN']") == "hf_abcdefgh"


def test_what_does_not_fit_is_refused_with_the_figures(tmp_path: Path) -> None:
    with machine(tmp_path / "data", oversubscription=1.0) as here:
        cores = here.platform._machine.cores
        here.start(program=program(), instance=instance(cpus=cores))
        with pytest.raises(NoRoom, match=rf"asks for 0.5 cores, and 0 of {cores} are free .* ana/prueba"):
            here.start(program=program())
        with pytest.raises(BadRequest, match="choose a smaller one"):
            here.platform.check(instance(cpus=cores + 1))
        with pytest.raises(BadRequest, match=r"the model needs about 2\.0 GiB"):
            here.platform.check(instance(), needs_bytes=2048 * MIB)


def test_a_model_that_needs_more_memory_is_refused(here: Machine) -> None:
    small = instance(memory_bytes=64 * MIB)
    reason = failed(here.gone(here.start(folder=ROOT / "examples" / "becas-qa", instance=small)))
    assert re.search(r"(needs about|it took) \d+ MiB of memory", reason), reason
