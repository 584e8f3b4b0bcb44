"""Those who push and pull, each a process that is timed from its start to its end.

The model: what a turn leaves behind is removed before the next, and the disk has written all that it was
given before a turn begins. What is read lies in the page cache, on all sides. A process that fails ends the
run: its time would say nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

HF: Final = str(Path(sys.executable).with_name("hf"))


class TurnFailed(Exception):
    """A program did not do what it should; the message has its last words."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How long a process took, and what it and its children computed: seconds of the wall, and of CPUs."""

    seconds: float
    cpu: float

    def record(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def run(*commands: Sequence[str], environment: Mapping[str, str] | None = None) -> Turn:
    """Run programs one after another. TurnFailed when one does not end with 0."""
    before, begun = os.times(), time.perf_counter()
    for command in commands:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise TurnFailed(f"{command[0]} ended with {done.returncode}: {said}")
    seconds, after = time.perf_counter() - begun, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Turn(seconds=seconds, cpu=cpu)


def settle() -> None:
    """Wait until the disk has all that was written, so that no turn pays for the one before it."""
    os.sync()


def copy(source: Path, target: Path) -> dict[str, float]:
    """`cp` and `sha256sum` of the copy; and then `sync`, which has every file and the folder on the disk."""
    shutil.rmtree(target, ignore_errors=True)
    settle()
    copied = run(
        ["cp", "--recursive", "--reflink=never", str(source), str(target)],
        ["find", str(target), "-type", "f", "-exec", "sha256sum", "{}", "+"],
    )
    synced = run(["find", str(target), "-exec", "sync", "{}", "+"])
    shutil.rmtree(target)
    whole = Turn(seconds=copied.seconds + synced.seconds, cpu=copied.cpu + synced.cpu)
    return {**whole.record(), "unsynced": round(copied.seconds, 4)}


@dataclass(frozen=True, kw_only=True)
class Client:
    """`hf` as a user with a home of their own has it, who has set where the Hub is and nothing else.

    But for what would ask the internet, which is not there: telemetry and the look for updates.
    """

    url: str
    home: Path
    token: str | None = None
    xet: bool = True

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            **({"HF_TOKEN": self.token} if self.token else {}),
            **({} if self.xet else {"HF_HUB_DISABLE_XET": "1"}),
        }

    def push(self, repo: str, source: Path) -> Turn:
        """`hf upload` of a folder, or of a file."""
        settle()
        return run([HF, "upload", repo, str(source), "--quiet"], environment=self.environment())

    def pull(self, repo: str, target: Path) -> Turn:
        """`hf download` to a folder, with nothing in any cache."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        settle()
        command = [HF, "download", repo, "--local-dir", str(target), "--quiet"]
        return run(command, environment=self.environment())


def fetch(url: str, token: str | None = None) -> Turn:
    """`curl` of a file, to nowhere: a disk would only make both sides more alike."""
    header = ["--header", f"Authorization: Bearer {token}"] if token else []
    settle()
    return run(["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", *header, url])
