"""What a replica can reach on this machine: its own, and nothing of its neighbours' or the server's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lanza.endpoints.platform import Sight
from lanza.endpoints.states import Phase
from lanza.errors import Forbidden
from lanza.platforms.local.instructions import NONE
from lanza.platforms.local.isolation import Isolation
from local_replicas import SERVER, Machine, ask, available, keeper_of, left_of, machine, program, refuses, run
from serving import ROOT

NOTHING = Isolation(kind=NONE, tool=sys.executable, why="a test wants it so")


@dataclass
class Street:
    """A replica, its neighbour of another endpoint, and what lies around them."""

    machine: Machine
    kind: str
    mine: Sight
    other: Sight
    model: Path
    other_model: Path

    @property
    def data(self) -> Path:
        return self.machine.platform._places.data


@pytest.fixture(params=["bubblewrap", "landlock"], scope="module")
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    data = tmp_path_factory.mktemp("street") / "data"
    for name in ("mine", "other"):
        (data / "models" / name).mkdir(parents=True)
        (data / "models" / name / "config.json").write_text(name)
    (data / "admin.token").write_text("the administrator's")
    (data / "admin.token").chmod(0o600)
    with machine(data, isolation=available(request.param)) as it:
        mine = it.ready(program=program(), folder=data / "models" / "mine", endpoint="ana/one")
        other = it.ready(
            program=program(),
            folder=data / "models" / "other",
            endpoint="eva/two",
            environment={"TOKEN": "the neighbour's"},
        )
        models = data / "models"
        yield Street(it, request.param, mine, other, models / "mine", models / "other")


def test_it_has_what_is_its_own(street: Street) -> None:
    assert run(street.mine, "result = open('config.json').read()") == "mine"
    assert run(street.mine, f"result = open('{street.model}/config.json').read()") == "mine"
    for place in ("os.environ['HOME']", "os.environ['TMPDIR']"):
        assert (
            run(street.mine, f"p = {place} + '/f'; open(p, 'w').write('x'); result = open(p).read()") == "x"
        )
    assert run(street.mine, "import tempfile; result = tempfile.gettempdir() == os.environ['TMPDIR']")
    assert run(street.mine, "import ssl, sqlite3, ctypes; result = os.urandom(4) != b''")


@pytest.mark.parametrize(
    "path",
    [
        "{data}/admin.token",
        "{data}/models/other/config.json",
        "{data}/run/{other}/order.json",
        "{data}/run/{other}/log",
        "{data}/run/{mine}/order.json",
        "{data}/homes/eva%2Ftwo",
        "{data}/converted",
        "{home}/.ssh",
        "/etc/shadow",
        "/var/log",
        "/proc/{keeper}/environ",
        "/proc/{neighbour}/environ",
        "/proc/{server}/environ",
        "/proc/{neighbour}/root/etc/shadow",
        "/proc/1/environ",
    ],
)
def test_it_reads_nothing_of_others(street: Street, path: str) -> None:
    found = path.format(
        data=street.data,
        mine=street.mine.id,
        other=street.other.id,
        home=Path.home(),
        keeper=keeper_of(street.mine.id),
        neighbour=_main(street.machine, street.other),
        server=os.getpid(),
    )
    if path == "/proc/1/environ" and street.kind == "bubblewrap":
        return  # its own
    look = f"p = '{found}'; result = os.listdir(p) if os.path.isdir(p) else open(p, 'rb').read(9).hex()"
    assert refuses(street.mine, look).startswith(("FileNotFoundError", "PermissionError"))


def test_of_hidden_folders_it_sees_the_way_to_its_own(street: Street) -> None:
    look = f"result = [os.listdir('{street.data}'), os.listdir('{street.data}/models')]"
    if street.kind == "landlock":
        assert refuses(street.mine, look).startswith("PermissionError")
        return
    above, models = run(street.mine, look)
    assert set(above) == {"homes", "models"}
    assert models == ["mine"]


def _main(machine: Machine, sight: Sight) -> int:
    """The number of a replica's own process, seen from outside."""
    assert sight.address is not None
    port = sight.address.rpartition(":")[2]
    found = [
        int(it.name)
        for it in Path("/proc").iterdir()
        if it.name.isdigit() and _words(it)[:1] == [sys.executable] and _words(it)[-1:] == [port]
    ]
    assert len(found) == 1
    return found[0]


def _words(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_bytes().decode().split("\0")[:-1]
    except OSError:
        return []


@pytest.mark.parametrize(
    "path",
    ["{model}/config.json", "{model}/new", "/usr/bin/new", "{data}/new", "/etc/new", "{home}/new", "/new"],
)
def test_it_writes_nowhere_else(street: Street, path: str) -> None:
    where = path.format(model=street.model, data=street.data, home=Path.home())
    raised = refuses(street.mine, f"open('{where}', 'w').write('x'); result = 1")
    assert raised.startswith(("OSError", "PermissionError", "FileNotFoundError"))
    assert not Path(where).exists() or Path(where).read_text() == "mine"


def test_its_code_cannot_become_more(street: Street) -> None:
    status = (
        run(street.mine, "result = open('/proc/self/status').read()") if street.kind == "bubblewrap" else None
    )
    if status is not None:
        [capabilities] = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
        assert int(capabilities, 16) == 0
        [privileges] = [line.split()[1] for line in status.splitlines() if line.startswith("NoNewPrivs")]
        assert privileges == "1"
    limits = run(
        street.mine,
        "import resource as r; result = [r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE)]",
    )
    assert limits == [[0, 0], [4096, 4096]]


def test_it_cannot_signal_others(street: Street) -> None:
    neighbour = _main(street.machine, street.other)
    raised = refuses(street.mine, f"os.kill({neighbour}, 9); result = 1")
    assert raised.startswith(("ProcessLookupError", "PermissionError"))
    assert street.machine.sight(street.other.id).phase is Phase.READY


def test_it_sees_no_processes_but_its_own(street: Street) -> None:
    if street.kind == "landlock":
        assert refuses(street.mine, "result = os.listdir('/proc')").startswith("PermissionError")
        return
    seen = run(street.mine, "result = [int(it) for it in os.listdir('/proc') if it.isdigit()]")
    assert len(seen) <= 3


def test_sockets_of_other_replicas_are_out_of_reach(street: Street) -> None:
    if street.kind == "landlock":
        return  # it cannot forbid to connect to a socket whose path is known
    served = street.machine.ready(folder=ROOT / "examples" / "becas-qa", endpoint="eva/three")
    assert served.address is not None
    where = served.address.removeprefix("unix:")
    raised = refuses(street.mine, f"socket.socket(socket.AF_UNIX).connect('{where}'); result = 1")
    assert raised.startswith("FileNotFoundError")
    street.machine.stop(served.id)


def test_a_handler_is_isolated_with_its_replica(street: Street, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "handler.py").write_text(
        "import os\n"
        "class EndpointHandler:\n"
        "    def __init__(self, path): pass\n"
        "    def __call__(self, data):\n"
        "        try:\n            return open(data['inputs']).read()\n"
        "        except OSError as error:\n            return type(error).__name__\n"
    )
    sight = street.machine.ready(folder=folder, environment={"TOKEN": "mine"})
    for path in (street.data / "admin.token", street.other_model / "config.json", "/etc/shadow"):
        assert ask(sight, body={"inputs": str(path)})[1] in (b'"FileNotFoundError"', b'"PermissionError"')
    assert b"EndpointHandler" in ask(sight, body={"inputs": str(folder / "handler.py")})[1]
    street.machine.stop(sight.id)


def test_where_nothing_isolates_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "handler.py").write_text("class EndpointHandler: ...\n")
    with machine(tmp_path / "data", isolation=NOTHING) as here:
        with pytest.raises(Forbidden, match=r"the program .* is code of its own, .* install bubblewrap"):
            here.start(program=program())
        with pytest.raises(Forbidden, match=r"its handler.py is code of its own"):
            here.start(folder=folder)
        assert here.sights() == {}
        example = ROOT / "examples" / "becas-qa"
        assert here.ready(folder=example).phase is Phase.READY  # no code but ours


def test_unless_it_was_allowed(tmp_path: Path) -> None:
    with machine(tmp_path / "data", isolation=NOTHING, no_isolation=True) as here:
        sight = here.ready(program=program())
        run(
            sight,
            "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True); result = 1",
        )
        assert here.stop(sight.id).reason == "it was told to stop"
        assert not left_of(sight.id)


@pytest.mark.parametrize("kind", ["landlock", "none"])
def test_without_namespaces_too_nothing_outlives_its_keeper(tmp_path: Path, kind: str) -> None:
    with machine(tmp_path / "data", isolation=available(kind), no_isolation=True) as here:
        sight = here.ready(program=program())
        run(
            sight,
            "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True); result = 1",
        )
        os.kill(keeper_of(sight.id), 9)
        assert here.gone(sight.id).reason == "its keeper was killed"
        assert not left_of(sight.id)


def test_probing_says_what_works_and_why_not(tmp_path: Path) -> None:
    assert Isolation.probe(bubblewrap="no-such-bwrap").why == "it is not installed"
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2; exit 1\n")
    broken.chmod(0o755)
    found = Isolation.probe(bubblewrap=str(broken))
    assert found.why == "No permissions to create new namespace"
    assert "No permissions" in str(found)
    broken.write_text('#!/bin/sh\ncase "$*" in *--disable-userns*) exit 1;; esac\nexit 0\n')
    older = Isolation.probe(bubblewrap=str(broken))
    assert (older.kind, older.options) == ("bubblewrap", ())
    if shutil.which("bwrap") and subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"]).returncode == 0:
        assert Isolation.probe().kind == "bubblewrap"


def test_a_program_of_a_virtual_environment_finds_its_python(tmp_path: Path) -> None:
    """Its script names an interpreter, which belongs to another place."""
    place = tmp_path / "tool"
    place.mkdir()
    script = place / "serve"
    script.write_text(f"#!{sys.executable}\n{SERVER}")
    script.chmod(0o755)
    with machine(tmp_path / "data", isolation=available("bubblewrap")) as here:
        from lanza.endpoints.platform import Program

        words = Program(words=(str(script), "{port}"), port=80, health_route="/health")
        assert here.ready(program=words).phase is Phase.READY
