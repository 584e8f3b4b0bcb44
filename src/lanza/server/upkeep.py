"""What the server does by itself every so often: repair records that are behind, collect what nobody needs.

The model: one thread wakes every few minutes and looks. It compares records with their branches
(`catalog.repair`), and collects when the last time is long enough ago. When that was is the time of a file in
the data folder, so that restarts and `lanza hub collect` count too. Whoever collects holds that file's lock:
of two, the second leaves it to the first. The event loop has no part in any of this.

The thread ends with the process, wherever it is: what it does can be killed at any point.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread
from typing import Final

from lanza.errors import LanzaError, UsageError
from lanza.hub import catalog
from lanza.hub.collect import Collected, collect
from lanza.hub.hub import Hub
from lanza.server.folder import DataFolder

log = logging.getLogger("lanza.server")

LOOK: Final = 300.0
"""Seconds between two looks, on the average: the first is that long after the start."""

GRACE: Final = timedelta(days=1)
"""How long ago something must have been needed last. An upload may take that long."""

PATIENCE: Final = 2.0
"""Seconds that the end of the server waits for what is being done."""


class Upkeep:
    """Looks after the Hub in a data folder. It collects after about `every`; None is never."""

    def __init__(
        self,
        hub: Hub,
        folder: DataFolder,
        *,
        every: timedelta | None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._hub = hub
        self._folder = folder
        self._every = every
        self._clock = clock
        self._chance = chance
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK * self._chance(0.8, 1.2)):
            self.look()

    def look(self) -> None:
        """Do what there is to do. Nothing that fails ends the thread: the next look tries again."""
        try:
            if behind := catalog.repair(self._hub):
                log.info("repaired: %d records were behind their main branch", behind)
            if self._is_time():
                self._collect()
        except LanzaError as error:
            log.warning("upkeep has to wait: %s", error)
        except Exception:  # the thread is a supervisor
            log.exception("upkeep failed, and is tried again")

    def _is_time(self) -> bool:
        """A little earlier or later each time, so that several servers do not do it together."""
        if self._every is None:
            return False
        since = self._clock() - self._folder.collected_at
        return since >= self._every.total_seconds() * self._chance(0.9, 1.0)

    def _collect(self) -> None:
        begin = time.monotonic()
        try:
            with self._folder.collecting():
                done = collect(self._hub, older_than=GRACE)
        except UsageError as error:
            log.info("not collected: %s", error)
            return
        log.info("collected in %.1f s: %s", time.monotonic() - begin, _told(done))


def _told(done: Collected) -> str:
    return (
        f"{done.blobs} large files of {done.bytes:,} bytes, {done.git_bytes:,} bytes of git, {done.uploads} "
        f"files of uploads, {done.folders} folders; {done.released} large files are out of use, and go next"
    )
