"""What is started for a replica, as a value: the job before its start, Lanza's own replica, a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lanza.platforms.local.instructions import Instructions, Job, Sandbox
from lanza.platforms.local.keeper.child import LISTENER, Child, spawn
from lanza.platforms.local.keeper.ending import Ended
from lanza.platforms.local.sandbox import command, temporary


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A command within a sandbox. `answers`: its standard output is read by itself."""

    words: tuple[str, ...]
    sandbox: Sandbox
    environment: Mapping[str, str] = field(repr=False)
    stdin: bytes = field(default=b"", repr=False)
    answers: bool = False
    listener: int | None = None

    def run(self, *, tmp: str) -> Child:
        """Ended when it cannot be started."""
        line = command(self.words, self.sandbox, tmp=tmp)
        try:
            return spawn(
                line, self.environment, stdin=self.stdin, answers=self.answers, listener=self.listener
            )
        except OSError as error:
            raise Ended(f"{line[0]} cannot be started: {error.strerror}", failed=True) from error


def of_job(told: Instructions, job: Job, *, tmp: str) -> Launch:
    sandbox = replace(told.sandbox, writable=job.writable)
    environment = _own_environment(told, sandbox, tmp)
    return Launch(words=job.words, sandbox=sandbox, environment=environment, answers=True)


def of_program(told: Instructions, port: int, *, tmp: str) -> Launch:
    words = tuple(word.replace("{port}", str(port)) for word in told.words)
    environment = {"PORT": str(port), **_own_environment(told, told.sandbox, tmp)}
    return Launch(words=words, sandbox=told.sandbox, environment=environment)


def of_replica(
    told: Instructions, spec: Mapping[str, Any], found: Mapping[str, Any], listener: int, *, tmp: str
) -> Launch:
    """Lanza's own replica, on a socket that is open already. `found` is what the job has found out."""
    sandbox, environment = told.sandbox, _own_environment(told, told.sandbox, tmp)
    if found["graph"]:
        sandbox = replace(sandbox, readable=(*sandbox.readable, str(Path(found["graph"]).parent)))
    if found["engine"] != "handler":
        environment["HF_HUB_OFFLINE"] = "1"  # all that it needs is in its folder
    whole = json.dumps({**spec, **found, "inherited": LISTENER}).encode()
    return Launch(words=told.words, sandbox=sandbox, environment=environment, stdin=whole, listener=listener)


def _own_environment(told: Instructions, sandbox: Sandbox, tmp: str) -> dict[str, str]:
    return {
        "HOME": next(iter(sandbox.writable), "/"),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": temporary(sandbox, tmp),
        **told.environment,
        "LANZA_REPLICA": told.id,
    }
