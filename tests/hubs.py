"""A real Hub as the process that users start, and what clients need to reach it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from serving import ROOT

READY = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with a token of role write, and a home of their own."""

    name: str
    token: str
    url: str
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        """What a user of this Hub has set: the endpoint and the token, and nothing else of Hugging Face's."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "PYTHONPATH": str(ROOT / "src"),
            **more,
        }

    def run(
        self,
        *command: str,
        input: str | None = None,
        check: bool = True,
        cwd: Path | None = None,
        **more: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user; its output is in the assertion when it fails."""
        done = subprocess.run(
            command,
            cwd=cwd or self.home,
            env=self.environment(**more),
            input=input,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, code: str, **more: str) -> str:
        """Run `code` in a new interpreter of this environment; gives what it prints."""
        return self.run(sys.executable, "-c", code, **more).stdout

    def api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.url, token=self.token)


@dataclass(kw_only=True)
class Hub:
    """`lanza up` as a process. `root` is its administrator's token, `said` the last lines that it wrote."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    homes: Path
    said: deque[str]

    @property
    def root(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """One request of the administrator's; gives the decoded answer."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.root}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def user(self, name: str, *, password: str = "una contraseña larga") -> User:
        """A new user, with a token of role write."""
        self.call("POST", "/api/lanza/users", {"name": name, "password": password})
        made = self.call("POST", "/api/lanza/tokens", {"user": name, "name": "test", "role": "write"})
        home = self.homes / name
        home.mkdir(parents=True)
        return User(name=name, token=made["token"], url=self.url, home=home)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def hub(
    data: Path,
    *options: str,
    homes: Path | None = None,
    environment: Sequence[str] = (),
    program: Sequence[str] = ("-m", "lanza", "up"),
) -> Iterator[Hub]:
    """`lanza up --port 0 --data DATA OPTIONS`, ready; killed at the end if it still runs.

    `program` is what Python runs instead, with the same options.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, *program, "--port", "0", "--data", str(data), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**kept, "PYTHONPATH": str(ROOT / "src"), **dict(pair.split("=", 1) for pair in environment)},
    )
    assert process.stdout is not None
    lines: deque[str] = deque(maxlen=10_000)
    # Read to the end: a server whose words nobody takes stands still when the pipe is full.
    reader = Thread(target=lines.extend, args=(process.stdout,))
    try:
        for line in process.stdout:
            lines.append(line)
            if found := READY.search(line):
                break
        else:
            raise AssertionError("the hub ended: " + "".join(lines))
        reader.start()
        yield Hub(
            process=process,
            url=f"http://127.0.0.1:{found[1]}",
            data=data,
            homes=homes or data.parent / f"{data.name}-homes",
            said=lines,
        )
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if reader.is_alive():
            reader.join(10)
        process.stdout.close()
