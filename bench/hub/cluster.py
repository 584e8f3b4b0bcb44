"""A PostgreSQL of Debian's for as long as it is needed, with its data in a folder that is then removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from processes import ServerFailed, free_port

PROGRAMS: Final = Path("/usr/lib/postgresql")


@contextmanager
def cluster(databases: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start a server with its own settings and empty databases of these names; gives the URL of each."""
    found = sorted(PROGRAMS.glob("*/bin"))
    if not found:
        raise ServerFailed("PostgreSQL is not here: apt-get install postgresql")
    # Not below the work folder: PostgreSQL will not run as root, and others may not look into it.
    folder = Path(tempfile.mkdtemp(prefix="lanza-bench-"))
    who = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if who:
        shutil.chown(folder, "postgres")
    port = free_port()

    def run(program: str, *options: str) -> None:
        command = [*who, str(found[-1] / program), *options]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    try:
        run("initdb", "-D", f"{folder}/data", "-U", "lanza", "--auth=trust", "--no-sync")
        run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-o", options, "-w", "start")
        for name in databases:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "lanza", name)
        yield {name: f"postgresql+psycopg://lanza@127.0.0.1:{port}/{name}" for name in databases}
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", "-D", f"{folder}/data", "-m", "fast", "stop")
        shutil.rmtree(folder)
