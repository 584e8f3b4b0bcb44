"""A replica's folder is made and its keeper started; the folder goes when all is over."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lanza
from lanza.endpoints.platform import Order
from lanza.platforms.local.instructions import Instructions
from lanza.platforms.local.layout import LOCK, RunFolder
from lanza.platforms.local.programs import our_own


def compile_ours() -> None:
    """Have Python's compiled files of what replicas run: in their sandbox they could not keep any."""
    if sys.dont_write_bytecode:
        return
    import compileall

    package = Path(lanza.__file__).parent
    for part in ("convert", "engines", "models", "platforms", "protocols", "replica", "tasks"):
        compileall.compile_dir(package / part, quiet=2)


def begin(order: Order, folder: RunFolder, told: Instructions) -> int:
    """Make the folder and start the keeper; the keeper's number.

    The folder has its name, and is seen, only when its lock is held. OSError when a keeper cannot be started.
    """
    made = RunFolder(folder.path.with_name(f".{order.id}"))
    shutil.rmtree(made.path, ignore_errors=True)
    made.path.mkdir(mode=0o700)
    made.tmp.mkdir(mode=0o700)
    os.mkfifo(made.wishes, 0o600)
    made.order.write_text(json.dumps(_public(order)))
    lock = os.open(made.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.path.rename(folder.path)
        return _spawn(folder, told.encode(), lock)
    except OSError:
        remove_folder(folder.path)
        raise
    finally:
        os.close(lock)


def _public(order: Order) -> dict[str, Any]:
    """What of an order may lie in a file."""
    return {
        "endpoint": order.endpoint,
        "revision": order.revision,
        "cpus": order.instance.cpus,
        "memory": order.instance.memory_bytes,
    }


def _spawn(folder: RunFolder, told: bytes, lock: int) -> int:
    """Start a keeper in a session of its own, with an environment that holds nothing; its number."""
    path, _ = our_own()
    feed = os.memfd_create("instructions", os.MFD_CLOEXEC)
    try:
        os.write(feed, told)
        os.lseek(feed, 0, os.SEEK_SET)
        said = (str(folder.keeper_log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-S", "-P", "-m", "lanza.platforms.local.keeper", str(folder.path)],
            {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, feed, 0),
                (os.POSIX_SPAWN_OPEN, 1, *said),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, lock, LOCK),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD],
        )
    finally:
        os.close(feed)


def remove_folder(path: Path) -> None:
    """Remove a folder in which a replica may have taken rights away."""

    def allow(function: Callable[[str], Any], name: str, error: Any) -> None:
        with suppress(OSError):
            Path(name).parent.chmod(0o700)
            Path(name).chmod(0o700)
            function(name)

    shutil.rmtree(path, onerror=allow)
