"""Backups of a whole server: the Hub's (`hub/backup.py`), with the records of endpoints among them.

The model: records are copied table by table where one of the two databases is PostgreSQL, so that whoever
copies has to know every table; this module imports all that there are. What ran when a copy was made does not
run where it is restored: replicas, and who looked after them, are forgotten there, and endpoints that are to
run are started anew by the loop. Their secrets come along with the key, the folders of models do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete
from sqlalchemy.orm import Session

from lanza.database import Database
from lanza.endpoints.records import Lease, Replica, WorkerLoad
from lanza.hub import backup as hub_backup
from lanza.hub.backup import Report, backup

__all__ = ["Report", "backup", "restore"]


def restore(
    target: Path,
    data: Path,
    *,
    database: Database | None = None,
    storage: str | None = None,
    copied: Callable[[int], None] = lambda size: None,
) -> Report:
    """See `hub_backup.restore`."""
    return hub_backup.restore(
        target, data, database=database, storage=storage, copied=copied, forget=_forget_what_ran
    )


def _forget_what_ran(session: Session) -> None:
    for record in (Replica, WorkerLoad, Lease):
        session.execute(delete(record))
