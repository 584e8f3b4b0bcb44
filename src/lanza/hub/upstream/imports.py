"""Imports that the server makes for those who ask: begun at once, and looked at until they are done.

The model: an import is a task of the server's own, which goes on when whoever asked has left, and ends with
the server. What became of the last ones is kept in memory, for whoever began them and for administrators.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Literal

from starlette.concurrency import run_in_threadpool

from lanza.auth.principal import Principal
from lanza.errors import LanzaError, NotFound, Overloaded
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.upstream.importing import Progress, check_target, import_repo
from lanza.hub.upstream.upstream import Upstream

log = logging.getLogger("lanza.hub.imports")

MOST_RUNNING: Final = 4
MOST_KEPT: Final = 100

State = Literal["running", "done", "failed"]


@dataclass(kw_only=True)
class Import:
    """One import. `commit` is what it made, `error` why it made nothing."""

    id: str
    account_id: int | None
    source: RepoName
    target: RepoName
    progress: Progress = field(default_factory=Progress)
    state: State = "running"
    commit: str | None = None
    error: str | None = None


class Imports:
    """The imports of one server, on its event loop. Without `upstream` there are none."""

    def __init__(self, hub: Hub, upstream: Upstream | None) -> None:
        self._hub = hub
        self._upstream = upstream
        self._kept: OrderedDict[str, Import] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, caller: Principal, source: RepoName, target: RepoName, revision: str) -> Import:
        """Begin to import. Forbidden, when the caller may not write there; Overloaded, NotFound."""
        if self._upstream is None:
            raise NotFound("this server asks no other hub: start it without --no-upstream.")
        await run_in_threadpool(check_target, self._hub, caller, target)
        if len(self._tasks) >= MOST_RUNNING:
            raise Overloaded(
                f"{MOST_RUNNING} imports are running: try again when one is done.", retry_after=30
            )
        made = Import(id=secrets.token_hex(8), account_id=caller.account_id, source=source, target=target)
        self._kept[made.id] = made
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        task = asyncio.create_task(self._run(self._upstream, caller, made, revision))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return made

    def find(self, caller: Principal, import_id: str) -> Import:
        """NotFound for one that somebody else began, as for one that is not there."""
        found = self._kept.get(import_id)
        mine = found is not None and not caller.anonymous and found.account_id == caller.account_id
        if found is None or not (mine or caller.rules):
            raise NotFound(f"there is no import {import_id!r} of yours: it may have been long ago.")
        return found

    async def close(self) -> None:
        """End what is running. What an import had made of a repository goes with it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, upstream: Upstream, caller: Principal, made: Import, revision: str) -> None:
        try:
            commit = await import_repo(
                self._hub,
                caller,
                upstream,
                made.source,
                to=made.target,
                revision=revision,
                progress=made.progress,
            )
        except LanzaError as error:
            made.state, made.error = "failed", error.message
        except Exception:  # nobody else would hear of it
            log.exception("import %s of %s failed", made.id, made.source)
            made.state, made.error = "failed", f"something failed here; the server's log has it by {made.id}."
        else:
            made.state, made.commit = "done", commit.oid
