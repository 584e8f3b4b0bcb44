"""The walls between packages hold, and a hole in one is really seen.

import-linter is asked about this source, then about copies of it with one forbidden import each. What a
command loads is looked at from inside a process that runs it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "PIL",
    "aiohttp",
    "alembic",
    "fastapi",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "obstore",
    "onnxruntime",
    "pandas",
    "peft",
    "pygit2",
    "sqlalchemy",
    "starlette",
    "tokenizers",
    "torch",
    "transformers",
    "uvicorn",
)


def environment(source: Path) -> dict[str, str]:
    """The variables of this process, with `lanza` found in `source` and nowhere else first."""
    return {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}


def lint(source: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    options = ["--config", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache), "--no-logo"]
    return subprocess.run(
        command + options, cwd=source, env=environment(source), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("import-linter")


def test_the_walls_hold(cache: Path) -> None:
    result = lint(ROOT / "src", cache)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("models/facts.py", "import lanza.replica.app", "Packages import only what lies below them"),
        ("errors.py", "import lanza.settings", "Packages import only what lies below them"),
        ("tasks/work.py", "import lanza.engines.base", "Packages import only what lies below them"),
        ("engines/base.py", "import lanza.replica.queue", "Packages import only what lies below them"),
        ("engines/onnx.py", "import lanza.engines.transformers", "Engines do not know each other"),
        ("engines/onnx.py", "import torch", "torch and what belongs to it"),
        ("replica/app.py", "def later():\n    import transformers", "torch and what belongs to it"),
        ("replica/batcher.py", "import onnxruntime", "onnxruntime: only in its engine"),
        ("engines/base.py", "import uvicorn", "The HTTP server: only where a process listens"),
        ("hub/names.py", "import uvicorn", "The HTTP server: only where a process listens"),
        ("hub/names.py", "import lanza.replica.spec", "The control plane runs no model"),
        ("hub/names.py", "import torch", "The control plane runs no model"),
        ("server/settings.py", "import lanza.engines.base", "The control plane runs no model"),
        ("auth/principal.py", "import lanza.hub.names", "Packages import only what lies below them"),
        ("hub/names.py", "import lanza.server.settings", "Packages import only what lies below them"),
        ("replica/queue.py", "import lanza.database", "The data plane has no database"),
        ("engines/base.py", "import lanza.hub.names", "The data plane has no database"),
        ("replica/queue.py", "import sqlalchemy", "The data plane has no database"),
        ("server/settings.py", "import pygit2", "libgit2 and the object store"),
        ("hub/names.py", "import huggingface_hub", "The Hub's client"),
        ("convert/worker.py", "import rich", "The terminal: only in the command line"),
        ("models/memory.py", "import torch", "What a model is"),
        ("engines/handler/child/wire.py", "import msgspec", "The handler's process needs nothing"),
        ("cli/init.py", "import lanza.engines.handler.starters.unknown", "Handlers to start from"),
        ("utils.py", "", "Packages import only what lies below them"),
    ],
)
def test_a_forbidden_import_is_caught(
    module: str, line: str, contract: str, tmp_path: Path, cache: Path
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "src" / "lanza" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path / "src", cache)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [entry for entry in result.stdout.splitlines() if entry.endswith("BROKEN")]
    assert any(entry.startswith(contract) for entry in broken), result.stdout


def loaded_by(script: str) -> set[str]:
    """The top-level modules that are loaded once `script` has run in a new interpreter."""
    source = (
        f"{script}\nimport sys; print('LOADED', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", source],
        env=environment(ROOT / "src"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    line = result.stdout.splitlines()[-1]
    assert line.startswith("LOADED "), result.stdout
    return set(line.split()[1:])


HELP = """
import sys
from lanza.cli import main
sys.argv = ["lanza", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_a_server_starts_without_what_it_may_never_need() -> None:
    """Speaking HTTP to others, and bringing a schema up to date, are imported when there is need."""
    loaded = loaded_by("import lanza.server.process")
    assert loaded.isdisjoint({"aiohttp", "alembic"})


def test_commands_speak_to_a_server_only_when_they_run() -> None:
    assert "http" not in loaded_by("import lanza.cli")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([verb, "--help"] for verb in ("serve", "doctor", "convert", "up", "login", "env", "shell")),
        *([verb, "--help"] for verb in ("push", "pull", "ls", "rm", "tokens", "users", "orgs", "policy")),
        ["tokens", "create", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(HELP.format(arguments=arguments))
    assert "typer" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_the_package_itself_is_light() -> None:
    loaded = loaded_by("import lanza")
    assert "lanza" in loaded
    assert loaded.isdisjoint({*HEAVY, "typer", "rich", "msgspec", "orjson"})


def test_the_facts_of_a_model_need_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForMaskedLM"]}')
    script = f"""
from pathlib import Path
from lanza.models.facts import read_facts
assert read_facts(Path({str(tmp_path)!r})).task == "fill-mask"
"""
    assert loaded_by(script).isdisjoint(HEAVY)
