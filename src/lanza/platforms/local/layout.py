"""A replica's folder, DATA/run/<id>, and how the replica is, as its keeper writes it there.

lock         held by the keeper for as long as it lives
order.json   what was ordered, without its environment
state.json   how it is
wishes       a pipe with a name: what the server wants of the keeper
log, log.1   what the replica has said, bounded
keeper.log   what the keeper itself has to complain of
s            the socket that the replica answers on
tmp/         the replica's temporary files

Beside those folders lie `lock`, shared by all server processes that look after replicas, and `news`, a pipe
with a name that keepers write a byte to when something changes. Only the standard library is used here: the
keeper has nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

STARTING: Final = "starting"
READY: Final = "ready"
DRAINING: Final = "draining"
GONE: Final = "gone"

LOCK: Final = 3
"""The number under which a keeper finds its lock, open and held."""


@dataclass(frozen=True, kw_only=True)
class State:
    """How a replica is; the fields are those of `lanza.endpoints.platform.Sight`."""

    phase: str = STARTING
    address: str | None = None
    reason: str = ""
    failed: bool = False
    killed: bool = False
    ended_at: float | None = None
    cpu: float = 0.0
    memory: int = 0
    progress: str = ""

    def but(self, **changes: Any) -> State:
        return replace(self, **changes)


@dataclass(frozen=True)
class RunFolder:
    """Where in `path` each thing is."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def order(self) -> Path:
        return self.path / "order.json"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def wishes(self) -> Path:
        return self.path / "wishes"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def older_log(self) -> Path:
        return self.path / "log.1"

    @property
    def keeper_log(self) -> Path:
        return self.path / "keeper.log"

    @property
    def socket(self) -> Path:
        return self.path / "s"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    def read_state(self) -> State | None:
        """None where nothing was written yet, or what was written is damaged."""
        with suppress(OSError, ValueError, TypeError):
            return State(**json.loads(self.state.read_bytes()))
        return None

    def write_state(self, state: State) -> None:
        """Replace it; on a disk without room, write over it, for a state that is cut off beats none."""
        data = json.dumps(asdict(state)).encode()
        aside = self.state.with_suffix(".new")
        try:
            aside.write_bytes(data)
            aside.replace(self.state)
        except OSError:
            with suppress(OSError):
                self.state.write_bytes(data)

    def is_kept(self) -> bool:
        """Whether its keeper lives."""
        return is_locked(self.lock)


def is_locked(path: Path) -> bool:
    """Whether another open file holds the lock. One that cannot be opened is held by nobody."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(number)
    return False


def shout(pipe: Path, message: bytes) -> bool:
    """Write into a pipe with a name, without waiting. Whether somebody reads it."""
    try:
        number = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(number, message)
    except OSError:
        return False
    finally:
        os.close(number)
    return True
