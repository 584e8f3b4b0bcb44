"""From an order to a command line in a sandbox: what a replica sees, and what no command line says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lanza.endpoints.platform import Instance, Order, Program
from lanza.errors import Forbidden
from lanza.platforms.local.instructions import BUBBLEWRAP, LANDLOCK, NONE, Instructions, Sandbox
from lanza.platforms.local.isolation import Isolation
from lanza.platforms.local.layout import GONE, RunFolder, State
from lanza.platforms.local.sandbox import command, temporary, without
from lanza.platforms.local.telling import Places, instructions, require_isolation

WRAPPED = Isolation(kind=BUBBLEWRAP, tool="/usr/bin/bwrap", options=("--disable-userns",))
OPEN = Isolation(kind=NONE, tool="/usr/bin/python3", why="it is not installed")


def order(folder: Path | None, **changes: Any) -> Order:
    instance = Instance(
        vendor="lanza", region="local", accelerator="cpu", type="cpu", size="x2", architecture="a test",
        cpus=2, memory_bytes=2**30,
    )  # fmt: skip
    values: dict[str, Any] = {"id": "r1", "endpoint": "ana/qa", "revision": 3, "instance": instance}
    return Order(**{**values, "folder": folder, **changes})


def told(what: Order, data: Path) -> Instructions:
    places = Places(data=data, hidden=[data])
    return instructions(what, places, WRAPPED, address="unix:/short/r1/s", orphan_after=60)


def test_a_model_gets_a_spec_a_job_and_a_home(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    what = order(
        tmp_path / "m", task="text-classification", engine="onnx", environment={"TOKEN": "x" * 9},
        secrets=frozenset({"TOKEN", "GONE"}), deadline=7,
    )  # fmt: skip
    it = told(what, tmp_path / "data")
    assert it.spec is not None
    assert it.job is not None
    assert it.spec["environment"] == {"TOKEN": "x" * 9}
    assert it.spec["threads"] == 2
    assert it.spec["limits"] == {"deadline": 7, "drain": 7}
    assert "TOKEN" not in it.environment
    assert it.secrets == ("x" * 9,)
    assert it.job.words[-4:] == ("--task", "text-classification", "--engine", "onnx")
    assert it.job.writable == (str(tmp_path / "data" / "converted"),)
    assert it.sandbox.writable == (str(tmp_path / "data" / "homes" / "ana%2Fqa"),)
    assert str(tmp_path / "m") in it.sandbox.readable
    assert it.address == "unix:/short/r1/s"
    assert Instructions.decode(it.encode()) == it
    assert "x" * 9 not in repr(it)


def test_the_result_of_preparing_is_for_these_files_and_this_wish(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def result(**changes: Any) -> str:
        job = told(order(folder, **changes), tmp_path / "data").job
        assert job is not None
        return job.result

    first = result()
    assert result() == first
    assert len({first, result(task="fill-mask"), result(engine="onnx")}) == 3
    (folder / "config.json").write_text("{ }")
    assert result() != first


def test_a_program_gets_its_variables_and_its_port(tmp_path: Path) -> None:
    words = Program(words=("true", "--port", "{port}"), port=80, health_route="/alive")
    it = told(order(tmp_path, program=words, environment={"A": "b"}), tmp_path / "data")
    assert it.words[1:] == ("--port", "{port}")
    assert it.words[0].endswith("/true")
    assert (it.port, it.health_route, it.spec, it.job) == (0, "/alive", None, None)
    assert it.environment == {"OMP_NUM_THREADS": "2", "HF_MODEL_DIR": str(tmp_path), "A": "b"}
    fixed = Program(words=("true",), port=9000, health_route="/")
    assert told(order(None, program=fixed), tmp_path / "data").port == 9000


def test_code_of_its_own_needs_isolation(tmp_path: Path) -> None:
    program = Program(words=("true",), port=80, health_route="/")
    (tmp_path / "handler.py").write_text("")
    for refused in (order(None, program=program), order(tmp_path), order(tmp_path, engine="handler")):
        with pytest.raises(Forbidden, match=r"install bubblewrap, or start the server with --no-isolation"):
            require_isolation(refused, OPEN, no_isolation=False)
        require_isolation(refused, OPEN, no_isolation=True)
        require_isolation(refused, WRAPPED, no_isolation=False)
    require_isolation(order(tmp_path, engine="onnx"), OPEN, no_isolation=False)  # the handler is not run


def sandbox(kind: str, **changes: Any) -> Sandbox:
    values: dict[str, Any] = {
        "isolation": kind,
        "tool": "/usr/bin/tool",
        "folder": "/data/models/m",
        "readable": ("/data/models/m", "/home/u/.venv"),
        "writable": ("/data/homes/a",),
        "hidden": ("/data", "/home/u"),
    }
    return Sandbox(**{**values, **changes})


def test_bubblewrap_hides_a_folder_before_it_shows_what_is_in_it() -> None:
    newest = sandbox(BUBBLEWRAP, options=("--disable-userns",))
    line = command(["/bin/true", "x"], newest, tmp="/data/run/r/tmp")
    assert line[0] == "/usr/bin/tool"
    assert line[-3:] == ["--", "/bin/true", "x"]
    for flag in ("--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid", "--disable-userns"):
        assert flag in line
    text = " ".join(line)
    assert "--cap-drop ALL" in text
    assert "--unshare-net" not in text
    assert text.index("--tmpfs /data ") < text.index("--ro-bind /data/models/m /data/models/m")
    assert text.index("--tmpfs /data ") < text.index("--bind /data/homes/a /data/homes/a")
    assert text.index("--tmpfs /home/u ") < text.index("--ro-bind /home/u/.venv")
    assert text.index("--bind /data/homes/a") < text.index("--remount-ro /data")
    assert "--bind /data/run/r/tmp /tmp" in text


def test_landlock_is_told_what_may_be_read_and_written() -> None:
    line = command(["/bin/true", "x"], sandbox(LANDLOCK), tmp="/data/run/r/tmp")
    assert line[:3] == ["/usr/bin/tool", "-I", "-S"]
    assert line[-2:] == ["/bin/true", "x"]
    rules = json.loads(line[4])
    assert rules["writable"] == ["/data/homes/a", "/data/run/r/tmp"]
    assert "/usr" in rules["readable"]
    assert "/data/models/m" in rules["readable"]
    assert "readable" not in json.loads(command(["/bin/true"], sandbox(NONE), tmp="/t")[4])


def test_temporary_files_have_their_own_place() -> None:
    assert temporary(sandbox(BUBBLEWRAP), "/data/run/r/tmp") == "/tmp"
    assert temporary(sandbox(LANDLOCK), "/data/run/r/tmp") == "/data/run/r/tmp"


def test_what_is_hidden_is_left_out_of_what_is_allowed(tmp_path: Path) -> None:
    for name in ("a/x", "a/data/models", "b"):
        (tmp_path / name).mkdir(parents=True)
    hidden = [str(tmp_path / "a" / "data")]
    assert without(str(tmp_path), hidden) == [str(tmp_path / "a" / "x"), str(tmp_path / "b")]
    assert without(str(tmp_path / "b"), hidden) == [str(tmp_path / "b")]
    assert without(hidden[0], hidden) == []
    assert without(str(tmp_path / "a" / "database"), hidden) == [str(tmp_path / "a" / "database")]


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_state() is None
    state = State(phase=GONE, reason="por qué", failed=True, ended_at=1.5, cpu=0.25, memory=7)
    folder.write_state(state)
    assert folder.read_state() == state
    assert dataclasses.asdict(state) == json.loads(folder.state.read_text())
    for damaged in ("", "{", "[]", '{"unknown": 1}'):
        folder.state.write_text(damaged)
        assert folder.read_state() is None
    assert not folder.is_kept()


def test_a_state_is_written_on_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the old one, which has its blocks; without it a replica's end would not be known."""
    folder = RunFolder(tmp_path)
    folder.write_state(State())

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    folder.write_state(State(phase=GONE, reason="it ended"))
    assert folder.read_state() == State(phase=GONE, reason="it ended")
