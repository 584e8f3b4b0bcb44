"""Lanza's Hub as the process that users start: `lanza up` with its defaults, over an empty data folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processes import ServerFailed, cpu_seconds, last_words, stop

PATIENCE: Final = 60.0
USER: Final = "bench"

_READY: Final = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A Hub that answers, and the token of a user who may write."""

    url: str
    token: str
    pid: int

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def check(self, repo: str, digests: Mapping[str, str]) -> None:
        """ServerFailed unless the repository has these files, each as the blob with its SHA-256."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        tree = HfApi(endpoint=self.url, token=self.token).list_repo_tree(repo, recursive=True)
        found = {it.path: it.lfs.sha256 for it in tree if isinstance(it, RepoFile) and it.lfs}
        if found != dict(digests):
            raise ServerFailed(f"{repo} has {len(found)} large files that are not the {len(digests)} pushed")


@contextmanager
def hub(data: Path) -> Iterator[Hub]:
    """Start a Hub over `data`, which is emptied, and stop it at the end whatever happens."""
    shutil.rmtree(data, ignore_errors=True)
    try:
        with started(data) as (url, pid):
            admin = (data / "admin.token").read_text().strip()
            _call(url, admin, "users", {"name": USER, "password": "a long pass phrase"})
            made = _call(url, admin, "tokens", {"user": USER, "name": "bench", "role": "write"})
            yield Hub(url=url, token=made["token"], pid=pid)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def started(data: Path, *options: str) -> Iterator[tuple[str, int]]:
    """`lanza up` over `data` as it is: its address and its process, stopped at the end whatever happens."""
    data.parent.mkdir(parents=True, exist_ok=True)
    log = data.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lanza", "up", "--port", "0", "--data", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield _ready(process, log), process.pid
        finally:
            stop(process)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if found := _READY.search(log.read_text(errors="replace")):
            return found[0]
        time.sleep(0.02)
    raise ServerFailed(f"lanza up did not come up: {last_words(log)}")


def _call(url: str, token: str, what: str, body: Mapping[str, str]) -> Any:
    request = urllib.request.Request(
        f"{url}/api/lanza/{what}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)
