"""The interpreter for a handler: ours, or that of an environment made for its requirements.txt.

The model held here: one virtual environment for each text of a requirements.txt and each interpreter, under
`home/envs`, kept for the next start. It sees our packages behind its own, so torch is not installed twice and
another version of anything may be. A lock lets two replicas that start together install once; a marker file,
written last, tells a whole environment from one whose making was interrupted.

pip runs the code of what it builds, so it gets no token of ours. It runs in the model's folder, for lines may
name wheels there; `-P` keeps Python from taking a file of that folder (pip.py, venv.py) for a module. Lines
that pull in other files (-r, -c, -e) are refused: the environment would not follow when those change.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import site
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from lanza.engines.handler.environment import installer_environment
from lanza.errors import ModelError

logger = logging.getLogger("lanza.handler")

REQUIREMENTS: Final = "requirements.txt"
_MARKER: Final = ".complete"
_LARGEST: Final = 2**20
_REFUSED: Final = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")
_LAST_LINES: Final = 15
_LOCK_PAUSE: Final = 0.2


async def prepare_python(folder: Path, *, home: Path | None) -> Path:
    """The interpreter to run the folder's handler with, its requirements installed.

    `home` None keeps environments in the user's data folder. Raises ModelError with pip's last lines.
    """
    text = read_requirements(folder)
    if text is None:
        return Path(sys.executable)
    place = _envs(home) / environment_key(text)
    if not (place / _MARKER).is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        async with _lock(place.with_name(f"{place.name}.lock")):
            if not (place / _MARKER).is_file():
                await _make(place, folder)
    return _interpreter(place)


def read_requirements(folder: Path) -> str | None:
    """The text of requirements.txt; None where there is nothing to install. ModelError at what is refused."""
    try:
        data = (folder / REQUIREMENTS).read_bytes()
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{REQUIREMENTS} cannot be read ({error}): save it as UTF-8 text.") from error
    if len(data) > _LARGEST:
        raise ModelError(f"{REQUIREMENTS} has {len(data)} bytes, which no list of packages has.")
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    for line in lines:
        if _names_a_file(line):
            raise ModelError(
                f"{REQUIREMENTS} has the line {line!r}: write the requirements themselves into this file, "
                "and a package of your own as a wheel in the folder (./name.whl)."
            )
    return text if lines else None


def environment_key(text: str) -> str:
    """The name of the environment for this text of a requirements.txt and the interpreter that runs us."""
    parts = (text, sys.version, sys.prefix)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _names_a_file(line: str) -> bool:
    option = line.split("=", 1)[0].split(maxsplit=1)[0]
    return option in _REFUSED or (option[:2] in _REFUSED and not option.startswith("--"))


def _envs(home: Path | None) -> Path:
    if home is None:
        from platformdirs import user_data_path

        home = user_data_path("lanza")
    return home / "envs"


async def _make(place: Path, folder: Path) -> None:
    """Make the environment in place: an unfinished one, which has no marker, is thrown away first."""
    logger.info("installing the handler's %s into %s", REQUIREMENTS, place)
    await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
    venv = [sys.executable, "-P", "-m", "venv", *_without_pip(), str(place)]
    await _run(venv, cwd=folder, what="making it")
    _see_our_packages(place)
    python = _interpreter(place)
    pip = (
        [sys.executable, "-P", "-m", "pip", "--python", str(python)]
        if _without_pip()
        else [str(python), "-P", "-m", "pip"]
    )
    install = [*pip, "install", "--progress-bar", "off", "-r", str(folder / REQUIREMENTS)]
    await _run(install, cwd=folder, what=f"pip install -r {REQUIREMENTS}")
    (place / _MARKER).touch()
    logger.info("installed the handler's %s", REQUIREMENTS)


def _without_pip() -> list[str]:
    """Our pip serves the other interpreter as well; where we have none, the environment gets its own."""
    return ["--without-pip"] if importlib.util.find_spec("pip") else []


def _see_our_packages(place: Path) -> None:
    """Append our site-packages to the search path of the environment, with the .pth files that they hold."""
    ours = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in ours if Path(path).is_dir()]
    if sys.platform == "win32":
        packages = place / "Lib" / "site-packages"
    else:
        packages = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "zz_lanza_parent.pth").write_text("".join(lines), encoding="utf-8")


def _interpreter(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


async def _run(command: Sequence[str], *, cwd: Path, what: str) -> None:
    """Run to the end, its lines going to the log. ModelError with the last of them when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=installer_environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
    )
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        async for line in process.stdout:
            last.append(line.decode("utf-8", "replace").rstrip())
            logger.info("%s", last[-1])
        status = await process.wait()
    finally:
        if process.returncode is None:  # we were cancelled
            process.kill()
            await process.wait()
    if status:
        lines = "".join(f"\n    {line}" for line in last)
        raise ModelError(f"The handler's environment cannot be made: {what} failed. Its last lines:{lines}")


@contextlib.asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    """Hold the file's lock, which the system lets go when a process dies."""
    with path.open("a+b") as file:
        while not _try_lock(file.fileno()):  # noqa: ASYNC110 - another process holds it: nothing to wait on
            await asyncio.sleep(_LOCK_PAUSE)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
