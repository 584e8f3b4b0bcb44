"""Commands whose libraries are not installed say how to install them, and nothing else needs those."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
WITHOUT = """
import sys
sys.modules[{module!r}] = None  # as if it were not installed
sys.argv = ["lanza", *{words!r}]
from lanza.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["up"], "fastapi", "server"),
        (["up"], "pygit2", "server"),
        (["ls", "--server", "http://127.0.0.1:9"], "huggingface_hub", "client"),
        (["push", ".", "ana/becas", "--server", "http://127.0.0.1:9"], "huggingface_hub", "client"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    words: list[str], module: str, extra: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module, words=words)],
        env={**os.environ, "PYTHONPATH": str(SOURCE), "LANZA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"pip install 'lanza[{extra}]'" in done.stderr
    assert module in done.stderr
    assert len(done.stderr.splitlines()) == 1
