"""What `lanza env` and `lanza shell` set, and that no token of elsewhere comes along."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lanza.cli import app
from lanza.cli.context import Context
from lanza.cli.environment import environment_of, variables

MINE = Context(url="http://127.0.0.1:8420", token="lz_o'clock")
SOURCE = Path(__file__).parents[3] / "src"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LANZA_HOME": str(home), "PYTHONPATH": str(SOURCE)}


def test_all_names_of_the_token_are_set(tmp_path: Path) -> None:
    found = variables(MINE, tmp_path)
    assert found["HF_ENDPOINT"] == MINE.url
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        assert found[name] == MINE.token
    assert found["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert found["DISABLE_SAFETENSORS_CONVERSION"] == "1"


def test_without_a_login_the_token_of_another_hub_is_taken_away(tmp_path: Path) -> None:
    outside = {"HF_TOKEN": "hf_of_elsewhere", "HUGGING_FACE_HUB_TOKEN": "hf_too", "KEPT": "1"}
    found = environment_of(Context(url=MINE.url), tmp_path, outside)
    assert "hf_of_elsewhere" not in found.values()
    assert "HUGGING_FACE_HUB_TOKEN" not in found
    assert found["KEPT"] == "1"


def test_tokens_that_clients_store_stay_apart_for_each_server(tmp_path: Path) -> None:
    one = variables(MINE, tmp_path)["HF_TOKEN_PATH"]
    other = variables(Context(url="http://127.0.0.1:9000"), tmp_path)["HF_TOKEN_PATH"]
    assert one != other
    assert Path(one).is_relative_to(tmp_path)


def test_the_shims_come_first_on_the_path(tmp_path: Path) -> None:
    found = environment_of(MINE, tmp_path, {"PATH": "/usr/bin"})
    assert found["PATH"].split(os.pathsep) == [str(tmp_path / "shims"), "/usr/bin"]


@posix
def test_what_env_prints_is_what_a_shell_then_has(tmp_path: Path) -> None:
    outside = {"LANZA_HOME": str(tmp_path), "LANZA_TOKEN": "lz_it's", "HF_TOKEN": "hf_old", "COLUMNS": "20"}
    printed = CliRunner().invoke(app, ["env", "--server", MINE.url], env=outside)
    assert printed.exit_code == 0, printed.output
    script = f'eval {shlex.quote(printed.stdout)}; printf "%s\\n" "$HF_TOKEN" "$HF_ENDPOINT" "$PATH"'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": "/usr/bin:/bin", "HF_TOKEN": "hf_old"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["lz_it's", MINE.url, f"{tmp_path / 'shims'}:/usr/bin:/bin"]


@posix
def test_env_without_a_login_unsets_a_token_that_was_there(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["env", "--server", MINE.url], env={"LANZA_HOME": str(tmp_path)})
    script = f'eval {shlex.quote(printed.stdout)}; echo "${{HF_TOKEN-none}}"'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"HF_TOKEN": "hf_old"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "none\n"


def test_powershell_quotes_are_doubled(tmp_path: Path) -> None:
    outside = {"LANZA_HOME": str(tmp_path), "LANZA_TOKEN": "lz_it's"}
    printed = CliRunner().invoke(app, ["env", "--server", MINE.url, "--powershell"], env=outside)
    assert "$Env:HF_TOKEN = 'lz_it''s'" in printed.stdout.splitlines()


@posix
def test_shell_runs_one_command_with_all_of_it_and_gives_its_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "lanza",
            "shell",
            "--server",
            MINE.url,
            "sh",
            "-c",
            'echo "$HF_ENDPOINT"; exit 7',
        ],
        env=environment(tmp_path) | {"HF_TOKEN": "hf_old"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, f"{MINE.url}\n"), done.stderr
    assert "hf_old" not in done.stderr


@posix
def test_a_command_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lanza", "shell", "--server", MINE.url, "no-such-command"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lanza: cannot run no-such-command")
