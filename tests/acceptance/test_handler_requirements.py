"""A file in a model's folder that is named like a module of Python is not run when its packages install."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lanza.engines.handler.requirements import prepare_python


def test_modules_of_the_folder_are_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("venv", "pip", "json", "logging"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    (folder / "requirements.txt").write_text("numpy\n")  # which we have: nothing is fetched
    python = asyncio.run(prepare_python(folder, home=tmp_path / "home"))
    assert python.is_file()
    assert not (tmp_path / "ran").exists()
