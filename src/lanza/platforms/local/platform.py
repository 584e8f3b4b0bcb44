"""Replicas as processes of this machine: started through keepers, found by their folders.

The model: DATA/run/<replica> is all that is known of a replica. A server writes an order there and starts a
keeper; from then on the keeper holds a lock and writes how the replica is, and whichever server looks reads
that. So nothing is lost with a server, and what is remembered here is only how to be quick.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lanza.endpoints.platform import Instance, Order, Sight
from lanza.endpoints.states import Phase
from lanza.errors import NotFound, UsageError
from lanza.models.memory import this_machine
from lanza.platforms.local.addresses import short_path
from lanza.platforms.local.isolation import Isolation
from lanza.platforms.local.layout import GONE, RunFolder, State, shout
from lanza.platforms.local.logs import EndedLogs, lines
from lanza.platforms.local.offers import MIB, SHIPPED, Machine, Prices, offers
from lanza.platforms.local.programs import our_own
from lanza.platforms.local.room import Taken, require_room
from lanza.platforms.local.telling import Places, instructions, require_isolation

log = logging.getLogger("lanza.platforms.local")

ORPHAN_AFTER: Final = 60.0
OVERSUBSCRIPTION: Final = 2.0
RESERVE: Final = 512 * MIB
"""Memory that is left to the server."""
LOCK: Final = 3
"""The number under which a keeper finds its lock."""
_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")
_MARK: Final = "LANZA_REPLICA"


class LocalPlatform:
    """The platform `local` over the data folder `data`; made in any thread, used on one event loop.

    `no_isolation` lets custom code run where nothing can isolate it. `hidden` are folders that replicas must
    not see, besides `data` and the home of who runs the server; `readable` what programs need that lies in
    unusual places. UsageError when this is no place to run replicas.
    """

    name = "local"

    def __init__(
        self,
        data: Path,
        *,
        isolation: Isolation | None = None,
        no_isolation: bool = False,
        machine: Machine | None = None,
        oversubscription: float = OVERSUBSCRIPTION,
        readable: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
        orphan_after: float = ORPHAN_AFTER,
    ) -> None:
        if sys.platform != "linux":
            raise UsageError("replicas are kept by means that only Linux has: run this server there.")
        data = data.resolve()
        unseen = {data, Path.home().resolve(), *(it.resolve() for it in hidden)} - {Path("/")}
        self._places = Places(data=data, readable=readable, hidden=sorted(unseen))
        self._places.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._short = short_path(self._places.run)
        self.isolation = isolation or Isolation.probe()
        self._no_isolation = no_isolation
        self._machine = machine or Machine.read(reserve=RESERVE)
        self._oversubscription = oversubscription
        own = data / "prices.toml"
        self._prices = Prices.read(own if own.exists() else SHIPPED)
        self._orphan_after = orphan_after
        self._ended = EndedLogs(data / "ended")
        self._keepers: set[int] = set()
        self._unheard: dict[str, float] = {}
        self._lock = _share(self._places.server_lock)
        self._news = _open_pipe(self._places.news)
        self._loop: asyncio.AbstractEventLoop | None = None
        log.info("replicas are isolated by %s", self.isolation)

    def listen(self, changed: Callable[[], None]) -> None:
        """From now on call `changed`, on this event loop, when a replica's phase or progress changes."""

        def hear() -> None:
            with suppress(BlockingIOError):
                os.read(self._news, 65536)
            changed()

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._news, hear)

    def offers(self) -> Sequence[Instance]:
        """See `Platform`."""
        return offers(self._machine, self._prices, oversubscription=self._oversubscription)

    def check(self, instance: Instance, *, needs_bytes: int = 0) -> None:
        """See `Platform`."""
        require_room(
            instance,
            self._machine,
            [_taken(folder, state) for folder, state in self._running()],
            oversubscription=self._oversubscription,
            available=this_machine().available,
            needs=needs_bytes,
        )

    async def start(self, order: Order) -> None:
        """See `Platform`. Forbidden when its code cannot be isolated, ModelError without its program."""
        await asyncio.to_thread(self._start, order)

    async def observe(self) -> Mapping[str, Sight]:
        """See `Platform`."""
        return await asyncio.to_thread(self._observe)

    async def stop(self, replica: str, *, drain: float) -> None:
        """See `Platform`."""
        if not self._ask_to_stop(replica, drain):
            self._unheard[replica] = drain  # its keeper does not listen yet: told again at the next look

    async def forget(self, replica: str) -> None:
        """See `Platform`."""
        await asyncio.to_thread(self._forget, replica)

    async def logs(self, replica: str, *, follow: bool = False) -> AsyncIterator[str]:
        """See `Platform`. NotFound for one that nothing is kept of."""
        folder = self._folder(replica)
        if folder.path.is_dir():
            async for line in lines(folder, follow=follow, over=lambda: not folder.is_kept()):
                yield line
            return
        kept = self._ended.find(replica)
        if kept is None:
            raise NotFound(f"nothing is kept of a replica {replica}.")
        for line in (await asyncio.to_thread(kept.read_text, errors="replace")).splitlines():
            yield line

    def ended(self, endpoint: str) -> Sequence[str]:
        """See `Platform`."""
        return self._ended.of(endpoint)

    async def close(self) -> None:
        """See `Platform`."""
        if self._loop is not None:
            self._loop.remove_reader(self._news)
            self._loop = None
        for number in (self._news, self._lock):
            os.close(number)

    # Starting

    def _start(self, order: Order) -> None:
        folder = self._folder(order.id)
        if folder.path.exists():
            return
        self.check(order.instance)
        require_isolation(order, self.isolation, no_isolation=self._no_isolation)
        told = instructions(
            order,
            self._places,
            self.isolation,
            address=f"unix:{self._short / order.id / folder.socket.name}",
            orphan_after=self._orphan_after,
        )
        self._places.home(order.endpoint).mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._places.run / f".{order.id}"
        shutil.rmtree(aside, ignore_errors=True)
        made = RunFolder(aside)
        made.tmp.mkdir(parents=True, mode=0o700)
        aside.chmod(0o700)
        os.mkfifo(made.wishes, 0o600)
        made.order.write_text(json.dumps(_public(order)))
        lock = os.open(made.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held before the folder has its name: it is never seen unkept
            aside.rename(folder.path)
            self._keepers.add(_spawn(folder, told.encode(), lock))
        finally:
            os.close(lock)

    # Looking

    def _observe(self) -> Mapping[str, Sight]:
        self._reap()
        for replica, drain in list(self._unheard.items()):
            if self._ask_to_stop(replica, drain):
                self._unheard.pop(replica, None)
        return {folder.path.name: _sight(folder, state) for folder, state in self._all()}

    def _all(self) -> Iterator[tuple[RunFolder, State]]:
        for entry in sorted(os.scandir(self._places.run), key=lambda it: it.name):
            if entry.is_dir(follow_symlinks=False) and _ID.fullmatch(entry.name):
                folder = RunFolder(Path(entry.path))
                yield folder, _state(folder)

    def _running(self) -> Iterator[tuple[RunFolder, State]]:
        return ((folder, state) for folder, state in self._all() if state.phase != GONE)

    def _folder(self, replica: str) -> RunFolder:
        if not _ID.fullmatch(replica):
            raise NotFound(f"{replica!r} is no replica.")
        return RunFolder(self._places.run / replica)

    def _reap(self) -> None:
        for pid in list(self._keepers):
            try:
                ended, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended = pid
            if ended:
                self._keepers.discard(pid)

    # Ending

    def _ask_to_stop(self, replica: str, drain: float) -> bool:
        """Whether the wish was heard, or there is nobody who could hear it any more."""
        folder = self._folder(replica)
        wish = json.dumps({"drain": drain}).encode() + b"\n"
        return shout(folder.wishes, wish) or not folder.is_kept()

    def _forget(self, replica: str) -> None:
        folder = self._folder(replica)
        if folder.is_kept() and _state(folder).phase != GONE:
            return
        self._unheard.pop(replica, None)
        self._ended.keep(str(_order(folder).get("endpoint", "")), replica, folder)
        _remove(folder.path)


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


def _order(folder: RunFolder) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        tree = json.loads(folder.order.read_bytes())
        if isinstance(tree, dict):
            return tree
    return {}


def _taken(folder: RunFolder, state: State) -> Taken:
    order = _order(folder)
    return Taken(
        endpoint=str(order.get("endpoint", folder.path.name)),
        cpus=float(order.get("cpus", 0)),
        memory=int(order.get("memory", 0)),
        used=state.memory,
    )


def _state(folder: RunFolder) -> State:
    """How a replica is. One whose keeper was killed is gone, and what it may have left is ended."""
    kept = folder.is_kept()
    state = folder.read_state()  # after the lock was looked at: then it is the last
    if kept or (state is not None and state.phase == GONE):
        return state or State()
    _end_strays(folder.path.name)
    reason = "its keeper was killed" if state is not None else _complaint(folder)
    gone = State(phase=GONE, reason=reason, failed=state is None, ended_at=_last_sign(folder))
    folder.write_state(gone)
    return gone


def _complaint(folder: RunFolder) -> str:
    """Why a keeper has not even begun."""
    with suppress(OSError):
        said = folder.keeper_log.read_text(errors="replace").strip().splitlines()
        if said:
            return f"its keeper could not begin: {said[-1]}"
    return "its keeper could not begin"


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


def _sight(folder: RunFolder, state: State) -> Sight:
    return Sight(
        id=folder.path.name,
        phase=Phase(state.phase),
        address=state.address,
        reason=state.reason,
        failed=state.failed,
        ended_at=state.ended_at,
        cpu=state.cpu,
        memory=state.memory,
        progress=state.progress,
    )


def _share(path: Path) -> int:
    """Hold the lock that says that a server is here; keepers try it for an instant, which is waited for."""
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(number, fcntl.LOCK_SH)
    return number


def _open_pipe(path: Path) -> int:
    """A pipe with a name, made anew when something else has it."""
    if not path.exists() or not stat.S_ISFIFO(path.lstat().st_mode):
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _remove(path: Path) -> None:
    """Remove a folder in which a replica may have taken rights away."""

    def allow(function: Callable[[str], Any], name: str, error: Any) -> None:
        with suppress(OSError):
            Path(name).parent.chmod(0o700)
            Path(name).chmod(0o700)
            function(name)

    shutil.rmtree(path, onerror=allow)
