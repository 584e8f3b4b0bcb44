"""Models of the hub behind this one, brought here for good when an endpoint is to serve them.

The model: a name that nobody here has is imported under itself, in the name of an administrator. It is then
a repository like any other, and what it is upstream later is not looked at again. Called on threads; the
transfer itself runs on the server's event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from sqlalchemy import select

from lanza.auth.principal import Principal, Role
from lanza.auth.records import Account
from lanza.errors import UpstreamAway, UpstreamUnavailable
from lanza.hub.hub import Hub
from lanza.hub.names import RepoName
from lanza.hub.refs import MAIN
from lanza.hub.upstream import Upstream, import_repo
from lanza.hub.upstream.importing import parameters_of
from lanza.hub.upstream.ours import is_ours

log: Final = logging.getLogger("lanza.server")


class Importer:
    """`begin` is to be called on the event loop that `upstream` is used on."""

    def __init__(self, hub: Hub, upstream: Upstream) -> None:
        self._hub = hub
        self._upstream = upstream
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        self._loop = asyncio.get_running_loop()

    def bring(self, name: RepoName, revision: str = MAIN) -> bool:
        """Import a model, if its name may be told to others. Whether that was done.

        RepoNotFound, RevisionNotFound and Gated as upstream has it; UpstreamUnavailable.
        """
        with self._hub.blobs.turn(f"import/{name.key}"):
            if self._loop is None or self._is_ours(name):
                return False
            log.info("the model %s is brought from %s", name, self._upstream.url)
            work = import_repo(self._hub, self._administrator(), self._upstream, name, revision=revision)
            try:
                asyncio.run_coroutine_threadsafe(work, self._loop).result()
            except UpstreamAway as error:
                raise UpstreamAway(_words(name, error)) from error
            except UpstreamUnavailable as error:
                raise UpstreamUnavailable(
                    _words(name, error), retry_after=error.retry_after or 1.0
                ) from error
        return True

    def weigh(self, name: RepoName, revision: str = MAIN) -> Mapping[str, int]:
        """A model's parameters by their type, as upstream has counted them: empty where it has not.

        Nothing is imported. RepoNotFound, RevisionNotFound, Gated; UpstreamUnavailable.
        """
        if self._loop is None or self._is_ours(name):
            return {}
        return asyncio.run_coroutine_threadsafe(
            parameters_of(self._upstream, name, revision), self._loop
        ).result()

    def _is_ours(self, name: RepoName) -> bool:
        with self._hub.database.reading() as session:
            return is_ours(session, name)

    def _administrator(self) -> Principal:
        with self._hub.database.reading() as session:
            account = session.scalars(select(Account).where(Account.admin).order_by(Account.id)).first()
            assert account is not None  # the last administrator cannot be removed
            return Principal(account_id=account.id, name=account.name, role=Role.ADMIN, admin=True)


def _words(name: RepoName, error: UpstreamUnavailable) -> str:
    return (
        f"the model {name} is not on this server, and {error.message} Check the name and the server's "
        "connection, or push the model here."
    )
