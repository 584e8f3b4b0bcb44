"""git's own programs, run on a repository: for the wire, and to put packs together.

They are started from argument lists, with an environment that holds nothing of the server's but where
programs are found: no configuration of the machine or of a user, no question at a terminal. Each gets a
process group, so that it ends with all that it started: when it is done, when its time is over, or when
nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import anyio

from lanza.errors import MissingExtra

SETTINGS: Final[Mapping[str, str]] = {
    "core.fsync": "committed,reference",
    "core.hooksPath": os.devnull,
    "gc.auto": "0",
    "maintenance.auto": "0",
    "pack.threads": "1",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.allowFilter": "true",
}
"""What a repository of ours asks of them, whatever else is configured."""

PIECE: Final = 2**18
LAST_WORDS: Final = 4096
"""Bytes of what a program complained about that are kept, from the end."""


def command(*arguments: str) -> list[str]:
    """The command line of a program of git's. MissingExtra when git is not installed."""
    git = shutil.which("git")
    if git is None:
        raise MissingExtra("the server has no git: install it there (Debian: apt install git).")
    return [
        git,
        *(part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")),
        *arguments,
    ]


def environment(**more: str) -> dict[str, str]:
    """What a program of git's may know."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }


def run(
    folder: Path,
    arguments: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run one to its end in a repository; `variables` are for its environment. subprocess.TimeoutExpired."""
    return subprocess.run(
        command("--git-dir", str(folder), *arguments),
        input=stdin,
        capture_output=True,
        env=environment(**(variables or {})),
        timeout=seconds,
        check=False,
    )


async def output(
    arguments: Sequence[str], variables: Mapping[str, str], stdin: IO[bytes]
) -> AsyncGenerator[bytes, None]:
    """What a program writes, as it comes. To be closed, which ends the program."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env=variables,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while piece := await process.stdout.read(PIECE):
            yield piece
        await process.wait()
    finally:
        await _end(process)


async def feed(
    arguments: Sequence[str], variables: Mapping[str, str], chunks: AsyncIterator[bytes]
) -> tuple[int, str]:
    """Give `chunks` to a program; its exit status, and the last that it said of errors.

    When it ends early, the rest is still read: a client listens only once all that it has was taken.
    """
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            listens = True
            async for chunk in chunks:
                listens = listens and await _write(process.stdin, chunk)
            process.stdin.close()
            status = await process.wait()
        finally:
            await _end(process)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST_WORDS))
        return status, errors.read().decode(errors="replace").strip()


async def _write(stdin: asyncio.StreamWriter, chunk: bytes) -> bool:
    """Whether the program still reads."""
    if stdin.is_closing():
        return False
    try:
        stdin.write(chunk)
        await stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that a program and all that it started are gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    with anyio.CancelScope(shield=True):
        await process.wait()
