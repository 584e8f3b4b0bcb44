"""How often repositories are downloaded: counted in memory, written to the database now and then.

The model: whoever takes files of a repository makes one download, however many files and requests it takes,
until an hour has passed since the first. Counts wait here for up to `every` seconds, then one of the requests
that bring them writes them all; those of the last seconds are lost when the server is killed.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from sqlalchemy import Row, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from lanza.database import Database
from lanza.hub.postings import note, stretch_term
from lanza.hub.records import Repo

ONE_DOWNLOAD: Final = 3600.0
"""Seconds in which all that one client takes of a repository is one download."""

MOST_REMEMBERED: Final = 100_000
"""Pairs of client and repository that are remembered; beyond, the oldest may count again."""


class Downloads:
    """Counts downloads. Safe to use from several threads."""

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.monotonic, every: float = 10.0
    ) -> None:
        self._database = database
        self._clock = clock
        self._every = every
        self._seen: OrderedDict[tuple[int, str], float] = OrderedDict()
        self._waiting: Counter[int] = Counter()
        self._written = clock()
        self._lock = Lock()

    def count(self, repo_id: int, client: str) -> None:
        """`client` (an account, or an address) took a file of the repository."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            if (repo_id, client) in self._seen:
                return
            self._seen[repo_id, client] = now
            self._waiting[repo_id] += 1
            due = now - self._written >= self._every
            if due:
                self._written = now
        if due:
            self.write()

    def write(self) -> None:
        """Bring the database up to date. When it is busy, the counts wait for the next time."""
        with self._lock:
            counts, self._waiting = self._waiting, Counter()
        if not counts:
            return
        try:
            with self._database.writing() as session:
                _add(session, counts)
        except OperationalError:
            with self._lock:
                self._waiting += counts

    def _forget(self, now: float) -> None:
        while self._seen:
            first = next(iter(self._seen))
            if now - self._seen[first] < ONE_DOWNLOAD and len(self._seen) < MOST_REMEMBERED:
                break
            del self._seen[first]


def _add(session: Session, counts: Counter[int]) -> None:
    """Add up first and note afterwards, so that nobody waits for a repository while they hold the sets."""
    known = (Repo.id, Repo.kind, Repo.downloads)
    found: list[Row[Any]] = []
    for repo_id, count in sorted(counts.items()):
        more = update(Repo).where(Repo.id == repo_id).values(downloads=Repo.downloads + count)
        found += session.execute(more.returning(*known).execution_options(synchronize_session=False))
    for repo in found:
        before = stretch_term("downloads", repo.downloads - counts[repo.id])
        note(session, repo, {before}, {stretch_term("downloads", repo.downloads)})
