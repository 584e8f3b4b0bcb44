"""Commands that are gone but stand in tutorials, or that know only one server: each a thin translation.

`write_shims` makes the folder that `lanza shell` puts first on PATH: a few lines each that start the modules
here with the Python that runs Lanza.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Final

SHIMS: Final = {"huggingface-cli": "lanza.cli.shims.huggingface_cli", "hf": "lanza.cli.shims.hf"}
"""Command to module."""


def write_shims(folder: Path) -> Path:
    """Fill `folder` and return it. Safe to call from several processes at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in SHIMS.items():
        if sys.platform == "win32":
            _write(folder / f"{name}.cmd", f'@"{sys.executable}" -m {module} %*\r\n')
        else:
            _write(folder / name, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
    return folder


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8", newline="")
    aside.chmod(0o755)
    aside.replace(path)
