"""Load from Debian's wrk, and what came of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "wrk.lua"
LONGEST = 3600


class Load:
    """wrk, running. `result` is there once the block has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.result: Mapping[str, Any] = {}

    def finish(self) -> None:
        self._process.send_signal(signal.SIGINT)  # it ends at once, and sums up
        output, _ = self._process.communicate(timeout=60)
        found = [line for line in output.splitlines() if line.startswith("RESULT ")]
        assert found, output
        self.result = json.loads(found[0].removeprefix("RESULT "))

    @property
    def failures(self) -> dict[str, Any]:
        """What was no answer with 200, by kind; nothing when all went well."""
        kinds = ("bad", "connect", "read", "write", "timeout")
        found = {kind: self.result[kind] for kind in kinds if self.result[kind]}
        return found | ({"first": self.result["first"]} if found else {})


@contextmanager
def load(url: str, *, token: str, body: Any, folder: Path, clients: int = 32) -> Iterator[Load]:
    """POST `body` again and again by `clients` at once, for as long as the block lasts."""
    assert shutil.which("wrk"), "wrk is missing: apt-get install wrk"
    path = folder / "load.json"
    path.write_bytes(json.dumps(body).encode())
    command = ["wrk", "-t1", f"-c{clients}", f"-d{LONGEST}s", "--timeout", "60s", "-s", str(SCRIPT), url]
    process = subprocess.Popen(
        command,
        env={**os.environ, "LOAD_BODY": str(path), "LOAD_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Load(process)
    try:
        yield running
        running.finish()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
