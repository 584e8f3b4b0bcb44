"""Of several processes that could do something, one does it: a row in the database, held by its beats.

The model: the holder writes the row again and again. Who waits watches it, by a steady clock of its own, and
takes it over when it has not changed for `seconds`: so it is enough that clocks run, they need not agree, and
one that is set forward or back harms nobody. Each change is one conditional update, of which of two at once
one succeeds. A holder that cannot write counts itself out before the others may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lanza.database import Database, now
from lanza.endpoints.records import Lease as Row

SECONDS: Final = 6.0
"""How long a lease lasts without a beat."""
BEAT: Final = SECONDS / 4

_TICK: Final = timedelta(microseconds=1)


class Lease:
    """One name, wanted by `holder`. `clock` is a steady one, in seconds."""

    def __init__(
        self,
        database: Database,
        name: str,
        holder: str,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._seconds = seconds
        self._clock = clock
        self._held_since: float | None = None
        self._watched: tuple[str, datetime] | None = None
        self._watched_since = 0.0

    @property
    def held(self) -> bool:
        """Whether this is surely the holder now: a beat was written not long ago."""
        return self._held_since is not None and self._clock() - self._held_since < self._seconds * 0.75

    def beat(self) -> bool:
        """Keep it, or take it if nobody does; whether it is held. To be called each `BEAT` seconds.

        Raises what the database raises; then it is held for as long as `held` says.
        """
        before = self._clock()  # what is written counts from before it was
        with self._database.reading() as session:
            seen = session.get(Row, self._name)
        mine = (seen is None or self._may_take(seen)) and self._written(seen)
        self._held_since = before if mine else None
        return mine

    def release(self) -> None:
        """Leave it to others at once."""
        self._held_since = None
        with self._database.writing() as session:
            session.execute(delete(Row).where(Row.name == self._name, Row.holder == self._holder))

    def _may_take(self, row: Row) -> bool:
        """Whether it is ours, or the same for so long that its holder is gone or counts itself out."""
        if row.holder == self._holder:
            return True
        if self._watched != (row.holder, row.until):
            self._watched, self._watched_since = (row.holder, row.until), self._clock()
        return self._clock() - self._watched_since >= self._seconds

    def _written(self, seen: Row | None) -> bool:
        """Write a beat, if the row is still as it was seen."""
        with self._database.writing() as session:
            if seen is None:
                return self._begin(session)
            done = session.execute(
                update(Row)
                .where(Row.name == self._name, Row.holder == seen.holder, Row.until == seen.until)
                .values(holder=self._holder, until=max(now(), seen.until + _TICK))
                .execution_options(synchronize_session=False)
            )
            return bool(done.rowcount)  # type: ignore[attr-defined]

    def _begin(self, session: Session) -> bool:
        try:
            with session.begin_nested():
                session.add(Row(name=self._name, holder=self._holder, until=now()))
        except IntegrityError:
            return False
        return True


def clear(session: Session) -> None:
    """Forget all leases: for who knows that nobody is there who could hold one."""
    session.execute(delete(Row))
