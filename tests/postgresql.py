"""A PostgreSQL of Debian's, with a cluster of its own that can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One database, `lanza`, of a cluster below `folder` that listens on `port`."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://lanza@127.0.0.1:{self.port}/lanza"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += f" -c unix_socket_directories={self.folder}"
        self._control("-l", f"{self.folder}/log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """At once, as in a crash."""
        self._control("-m", "immediate", "stop")

    def create(self) -> None:
        """Make it and start it."""
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "lanza", "--auth=trust", "--no-sync")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "lanza", "lanza")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL will not run as root.
        who = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*who, str(PROGRAMS[-1] / program), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A new one on a free port."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    made = Cluster(folder=folder, port=free_port())
    made.create()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)
