"""What is found of replicas in their folders, by whichever server looks."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lanza.endpoints.platform import Sight
from lanza.endpoints.states import Phase
from lanza.platforms.local.layout import GONE, RunFolder, State
from lanza.platforms.local.room import Taken

_MARK: Final = "LANZA_REPLICA"


def state_of(folder: RunFolder) -> State:
    """How a replica is. One whose keeper was killed is gone, and what it may have left is ended."""
    kept = folder.is_kept()
    state = folder.read_state()  # after the lock was looked at: then it is the last
    if kept or (state is not None and state.phase == GONE):
        return state or State()
    _end_strays(folder.path.name)
    reason, failed = _what_became_of_the_keeper(folder, begun=state is not None)
    gone = State(phase=GONE, reason=reason, failed=failed, ended_at=_last_sign(folder))
    folder.write_state(gone)
    return gone


def order_of(folder: RunFolder) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        tree = json.loads(folder.order.read_bytes())
        if isinstance(tree, dict):
            return tree
    return {}


def _what_became_of_the_keeper(folder: RunFolder, *, begun: bool) -> tuple[str, bool]:
    """Why it has not told the end itself, and whether that is worth a pause before the next try."""
    with suppress(OSError):
        said = folder.keeper_log.read_text(errors="replace").strip().splitlines()
        if said:
            return f"its keeper failed: {said[-1]}", True
    return ("its keeper was killed", False) if begun else ("its keeper could not begin", True)


def _last_sign(folder: RunFolder) -> float:
    with suppress(OSError):
        return folder.state.stat().st_mtime
    return time.time()


def _end_strays(replica: str) -> None:
    """Kill what bears the replica's mark: without a process namespace, a keeper's death may leave some."""
    mark = f"{_MARK}={replica}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)


def taken(folder: RunFolder, state: State) -> Taken:
    order = order_of(folder)
    return Taken(
        endpoint=str(order.get("endpoint", folder.path.name)),
        cpus=float(order.get("cpus", 0)),
        memory=int(order.get("memory", 0)),
        used=state.memory,
    )


def sight(folder: RunFolder, state: State) -> Sight:
    return Sight(
        id=folder.path.name,
        phase=Phase(state.phase),
        address=state.address,
        reason=state.reason,
        failed=state.failed,
        killed=state.killed,
        ended_at=state.ended_at,
        cpu=state.cpu,
        memory=state.memory,
        progress=state.progress,
    )
