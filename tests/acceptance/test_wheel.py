"""The wheel, installed where nothing else is: it has no torch, and it serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tiny
from lanza import __version__
from lanza.convert.preparation import export_to
from lanza.convert.store import Store
from lanza.models.facts import read_facts

ROOT = Path(__file__).parents[2]
NOT_IN_THE_BASE = ("torch", "transformers", "onnx", "peft", "PIL", "pandas", "safetensors")
CONTEXTS = (
    "La convocatoria abre el 3 de marzo y cierra el 28 de abril.",
    "Hay que adjuntar el certificado de notas y la declaración de la renta.",
)

pytestmark = pytest.mark.timeout(400)


def clean_environment(home: Path) -> dict[str, str]:
    """What a new user has: no path to this source, no settings of ours."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "LANZA_", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "LANZA_HOME": str(home / "lanza"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def run(*command: object, home: Path) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        cwd=home,
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("newcomer")


@pytest.fixture(scope="module")
def programs(home: Path) -> Path:
    """The folder of programs of an environment in which only the wheel was installed."""
    run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", home / "dist", ROOT, home=home
    )
    (wheel,) = (home / "dist").glob("*.whl")
    assert wheel.name == f"lanza-{__version__}-py3-none-any.whl"
    run(sys.executable, "-m", "venv", home / "venv", home=home)
    folder = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    run(folder / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, home=home)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the ONNX form of a small model, and no other weights."""
    base = tmp_path_factory.mktemp("model")
    original = tiny.bert(base / "original", task="question-answering", labels=("a", "b"))
    folder = base / "onnx"
    store = Store(base / "converted")
    export_to(read_facts(original), folder, task=None, store=store, tell=lambda step: None)
    for path in original.glob("*.json"):
        shutil.copy(path, folder)
    return folder


@contextmanager
def served(programs: Path, model: Path, home: Path) -> Iterator[str]:
    """`lanza serve` until the block ends; what it says on standard error is kept for a failure."""
    log = home / "log"
    command = [programs / "lanza", "serve", model, "--port", "0"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, cwd=home, env=clean_environment(home), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert " is served at " in line, line + log.read_text()
            yield line.split()[-1]
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
            assert not log.read_text()
        finally:
            process.kill()


def ask(url: str, context: str) -> tuple[dict[str, Any], str]:
    body = {"inputs": {"question": "¿Qué dice la convocatoria?", "context": context}}
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        return json.load(response), response.headers["X-Lanza-Engine"]


def test_the_base_install_has_no_torch(programs: Path, home: Path) -> None:
    script = f"from importlib.util import find_spec; print([n for n in {NOT_IN_THE_BASE!r} if find_spec(n)])"
    assert run(programs / "python", "-c", script, home=home).strip() == "[]"
    assert run(programs / "lanza", "--version", home=home) == f"lanza {__version__}\n"
    run(programs / "python", "-m", "pip", "check", home=home)


def test_it_serves_a_model(programs: Path, model: Path, home: Path) -> None:
    with served(programs, model, home) as url:
        answers = [ask(url, context) for context in CONTEXTS]
    for context, (answer, engine) in zip(CONTEXTS, answers, strict=True):
        assert engine == "onnx"
        assert answer["answer"]
        assert answer["answer"] == context[answer["start"] : answer["end"]]
        assert 0 < answer["score"] <= 1


def test_it_says_what_it_lacks(programs: Path, home: Path, tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "model")
    result = subprocess.run(
        [programs / "lanza", "serve", folder, "--port", "0"],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "pip install 'lanza[" in result.stderr
    assert "Traceback" not in result.stderr
