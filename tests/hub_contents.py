"""The whole server, with large files put into it without an upload."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from hub_app import Server
from lanza.hub import lfs
from lanza.hub.downloads import Downloads
from lanza.hub.hub import HubLimits
from lanza.hub.records import Repo
from lanza.server.app import application
from lanza.server.folder import DataFolder, open_hub
from lanza.server.settings import ServerSettings


@dataclass(frozen=True, kw_only=True)
class ContentServer(Server):
    """A server whose counter of downloads can be told to write."""

    downloads: Downloads


@contextmanager
def serving(
    folder: Path, *, limits: HubLimits | None = None, refused: frozenset[str] = frozenset()
) -> Iterator[ContentServer]:
    """A server over `folder`, asked without sockets."""
    settings = ServerSettings(
        data=folder, upstream=None, limits=limits or HubLimits(), refused=refused, endpoints=False
    )
    with DataFolder(path=settings.data).held():
        hub = open_hub(settings)
        inner: Any = application(hub, settings, {})

        async def app(scope: Any, receive: Any, send: Any) -> None:
            # As servers that raise from `send` when the client has left: nobody needs to wait for that.
            await inner({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)

        yield ContentServer(app=app, hub=hub, downloads=inner.app.app.app.state.downloads)
        hub.database.close()


def upload(server: Server, repo: str, content: bytes) -> str:
    """Put a large file where a model may reach it; gives its SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    server.hub.blobs.write(sha256, len(content), iter([content]))
    with server.hub.database.writing() as session:
        found = session.scalars(select(Repo).where(Repo.key == repo.lower())).one()
        lfs.grant(session, found.id, sha256, len(content))
    return sha256
