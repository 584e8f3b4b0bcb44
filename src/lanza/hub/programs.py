"""git's own programs, run on a repository: for the wire, and to put packs together.

They are started from argument lists, with an environment that holds nothing of the server's but where
programs are found: no configuration of the machine or of a user, no question at a terminal. Only what a
repository of ours asks of them is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lanza.errors import MissingExtra

SETTINGS: Final[Mapping[str, str]] = {
    "core.fsync": "committed,reference",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "maintenance.auto": "0",
    "pack.threads": "1",
    "protocol.version": "2",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
}


def command(*arguments: str) -> list[str]:
    """The command line of a program of git's. MissingExtra when git is not installed."""
    git = shutil.which("git")
    if git is None:
        raise MissingExtra("the server has no git: install it (Debian: apt install git).")
    return [git, *(part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")), *arguments]


def environment(**more: str) -> dict[str, str]:
    """What a program of git's may know."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        **more,
    }


def run(
    folder: Path, arguments: Sequence[str], *, stdin: bytes = b"", seconds: float, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one to its end in a repository; `more` is for its environment. subprocess.TimeoutExpired."""
    return subprocess.run(
        command("--git-dir", str(folder), *arguments),
        input=stdin,
        capture_output=True,
        env=environment(**more),
        timeout=seconds,
        check=False,
    )
