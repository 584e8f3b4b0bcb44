"""What a keeper is told: one value, as JSON through its standard input, so that secrets lie in no file.

Only the standard library is used here: the keeper has nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

BUBBLEWRAP: Final = "bubblewrap"
LANDLOCK: Final = "landlock"
NONE: Final = "none"
ISOLATIONS: Final = (BUBBLEWRAP, LANDLOCK, NONE)
"""The ways to isolate a process, the best first."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """How a process is started: by which isolation, in which folder, what it may read and what write.

    `hidden` are folders of which it sees nothing but what `readable` and `writable` name. `tool` is the
    program that isolates: bubblewrap, or the Python that runs `launcher.py`; `options` are what it is given.
    """

    isolation: str
    tool: str
    folder: str
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """What makes a folder ready to be served: a command that prints JSON lines (`lanza.convert.prepare`).

    `result` is the file that keeps its answer for the next start; `writable` what only the job may write.
    """

    words: tuple[str, ...]
    result: str
    writable: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """One replica.

    `words` is its command, `{port}` in it the port that it gets. `spec` is what Lanza's own replica reads
    from its standard input, without what the job finds out; None for a program. `port` is that of a program:
    0 for any that is free. `address` is where the socket of Lanza's own replica is found. `secrets` are texts
    that no log may show. `tasks` are processes and threads. Sizes in bytes, times in seconds.
    """

    id: str
    words: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    sandbox: Sandbox
    news: str
    server_lock: str
    job: Job | None = None
    spec: dict[str, Any] | None = field(default=None, repr=False)
    address: str = ""
    port: int = 0
    health_route: str = "/health"
    cpus: float = 1.0
    memory: int
    instance: str
    tasks: int = 1024
    start_timeout: float = 600.0
    orphan_after: float = 60.0
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Instructions:
        """ValueError, KeyError or TypeError when it is not whole."""
        tree = json.loads(data)
        job = tree.pop("job")
        sandbox = {name: _as_tuple(value) for name, value in tree.pop("sandbox").items()}
        rest = {name: _as_tuple(value) for name, value in tree.items()}
        return cls(
            sandbox=Sandbox(**sandbox),
            job=None if job is None else Job(**{name: _as_tuple(value) for name, value in job.items()}),
            **rest,
        )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
