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
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from lanza.endpoints.platform import Instance, Order, Sight
from lanza.errors import NotFound, UsageError
from lanza.models.memory import this_machine
from lanza.platforms.local.addresses import short_path
from lanza.platforms.local.conversions import remove_old_conversions
from lanza.platforms.local.found import order_of, sight, state_of, taken
from lanza.platforms.local.homes import remove_old_homes
from lanza.platforms.local.isolation import Isolation
from lanza.platforms.local.layout import GONE, RunFolder, State, shout
from lanza.platforms.local.logs import EndedLogs, lines
from lanza.platforms.local.offers import MIB, SHIPPED, Machine, Prices, offers
from lanza.platforms.local.room import require_room
from lanza.platforms.local.starting import begin, compile_ours, remove_folder
from lanza.platforms.local.telling import Places, instructions, require_isolation

log = logging.getLogger("lanza.platforms.local")

ORPHAN_AFTER: Final = 60.0
OVERSUBSCRIPTION: Final = 2.0
RESERVE: Final = 512 * MIB
"""Memory that is left to the server."""
_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")


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
        remove_old_homes(self._places.homes, self._places.run, now=time.time())
        remove_old_conversions(self._places.converted, self._places.prepared, now=time.time())
        compile_ours()
        self._lock = _share(self._places.server_lock)
        self._news = _open_pipe(self._places.news)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        log.info("replicas are isolated by %s", self.isolation)

    def listen(self, changed: Callable[[], None]) -> None:
        """See `Platform`: when a replica's phase or progress changes."""

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
            [taken(folder, state) for folder, state in self._running()],
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
        if self._closed:
            return
        self._closed = True
        if self._loop is not None:
            self._loop.remove_reader(self._news)
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
        home = self._places.home(order.endpoint)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(home)
        self._keepers.add(begin(order, folder, told))

    # Looking

    def _observe(self) -> Mapping[str, Sight]:
        self._reap()
        for replica, drain in list(self._unheard.items()):
            if self._ask_to_stop(replica, drain):
                self._unheard.pop(replica, None)
        return {folder.path.name: sight(folder, state) for folder, state in self._all()}

    def _all(self) -> Iterator[tuple[RunFolder, State]]:
        for entry in sorted(os.scandir(self._places.run), key=lambda it: it.name):
            if entry.is_dir(follow_symlinks=False) and _ID.fullmatch(entry.name):
                folder = RunFolder(Path(entry.path))
                yield folder, state_of(folder)

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
        if folder.is_kept() and state_of(folder).phase != GONE:
            return
        self._unheard.pop(replica, None)
        self._ended.keep(str(order_of(folder).get("endpoint", "")), replica, folder)
        remove_folder(folder.path)


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
