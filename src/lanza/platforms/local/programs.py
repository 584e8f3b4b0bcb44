"""A program of somebody's own: where it is, and what of the machine it needs to see to run."""

from __future__ import annotations

import shutil
import site
import sys
from collections.abc import Sequence
from pathlib import Path

import lanza
from lanza.errors import ModelError


def find_program(word: str, folder: Path | None) -> Path:
    """The program that the first word of a command names: on PATH, or in the model's folder. ModelError."""
    if "/" in word and not word.startswith("/") and folder is not None:
        word = str(folder / word)
    found = shutil.which(word)
    if found is None:
        raise ModelError(
            f"there is no program {word!r} on this machine: install it, or write its whole path."
        )
    return Path(found).absolute()


def belongings(program: Path, hidden: Sequence[Path]) -> list[str]:
    """The folders that come with a program: its virtual environment, what is beside its `bin`, or its own."""
    places = [*_of(program, hidden), *_of(program.resolve(), hidden)]
    interpreter = _interpreter(program)
    if interpreter is not None:
        places += [*_of(interpreter, hidden), *_of(interpreter.resolve(), hidden)]
    return list(dict.fromkeys(places))


def _of(program: Path, hidden: Sequence[Path]) -> list[str]:
    folder = program.parent
    if (folder.parent / "pyvenv.cfg").is_file():
        return [str(folder.parent), *_base_of(folder.parent)]
    wide = folder.parent if folder.name == "bin" else folder
    for place in (wide, folder):
        if place != Path("/") and not any(it.is_relative_to(place) for it in hidden):
            return [str(place)]
    return [str(program)]


def _base_of(environment: Path) -> list[str]:
    """The folder of the Python that a virtual environment was made with."""
    for line in (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "home":
            return [str(Path(value.strip()).parent)]
    return []


def _interpreter(program: Path) -> Path | None:
    """What a script names in its first line."""
    try:
        with program.open("rb") as file:
            first = file.readline(4096)
    except OSError:
        return None
    words = first[2:].split() if first.startswith(b"#!") else []
    return Path(words[0].decode(errors="replace")) if words else None


def our_own() -> tuple[str, list[str]]:
    """Where Python finds `lanza`, for PYTHONPATH; and where our interpreter and packages lie."""
    package = Path(lanza.__file__).parent
    places = [sys.prefix, sys.base_prefix, str(package.parent), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return str(package.parent), [place for place in dict.fromkeys(places) if Path(place).is_dir()]
