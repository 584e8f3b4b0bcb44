"""The server as a process: the folder's lock, the socket, the signals.

uvicorn speaks HTTP. On SIGTERM or Ctrl-C it stops listening and lets running requests end (bounded); then
what is open is closed, replicas are ended, and the process ends with 0.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from lanza.endpoints.platform import Platform
from lanza.errors import UsageError
from lanza.server.app import application
from lanza.server.folder import DataFolder, open_hub, renew_admin_token
from lanza.server.settings import ServerSettings
from lanza.server.workers import supervise
from lanza.writes import Protocol

log = logging.getLogger("lanza.server")

Announce = Callable[[str], None]

UNREAD: Final = 120
"""Seconds for which a client may leave unread what was sent to it, before its connection ends: what waits for
it is memory of ours, and nothing else would ever end the connection."""


def run(
    settings: ServerSettings,
    *,
    ready: Announce,
    new_admin_token: bool = False,
    platforms: Mapping[str, Platform] | None = None,
) -> None:
    """Serve until a signal. `ready` is called once, with the server's URL, when it answers.

    `platforms` are where endpoints run; None is this machine. Of several workers, each finds its own.

    Raises UsageError when another server has the folder, the address is taken, or the data is newer than
    this code.
    """
    folder = DataFolder(path=settings.data)
    with folder.held(), bind(settings) as listener:
        hub = open_hub(settings)
        if new_admin_token:
            renew_admin_token(hub.database, folder.admin_token)
        url = url_of(settings, listener.getsockname()[1])
        if settings.workers > 1:
            hub.database.close()
            supervise(settings, listener, ready=lambda: ready(url))
        else:
            here = local(settings) if platforms is None else platforms
            serve(application(hub, settings, here), settings, listener, lambda: ready(url))
        _end_replicas(settings)


def serve(app: ASGIApp, settings: ServerSettings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve `app` in this process, until a signal."""
    serving = _Server(_config(app, settings), announce=ready).serve(sockets=[listener])
    if sys.platform == "win32":
        asyncio.run(serving)
    else:
        import uvloop

        uvloop.run(serving)


def _end_replicas(settings: ServerSettings) -> None:
    """Who stops a server wants all of it to stop; nobody is left to be answered."""
    if not settings.endpoints or sys.platform != "linux":
        return
    from lanza.platforms.local.ending import end_all

    if left := end_all(settings.data, drain=settings.drain):
        log.warning("%d replicas have not ended yet; without a server they will within a minute", left)


def local(settings: ServerSettings) -> Mapping[str, Platform]:
    """This machine as a platform; nothing where replicas cannot be kept, or are not wanted."""
    if not settings.endpoints:
        return {}
    if sys.platform != "linux":
        log.warning("endpoints run on Linux only: this server is a Hub, and refuses to deploy")
        return {}
    from lanza.platforms.local.offers import Machine
    from lanza.platforms.local.platform import RESERVE, LocalPlatform

    machine = Machine.read(reserve=RESERVE)
    if settings.cores is not None:
        machine = replace(machine, cores=min(machine.cores, settings.cores))
    platform = LocalPlatform(
        settings.data, no_isolation=not settings.isolation, machine=machine, hidden=settings.hidden
    )
    return {platform.name: platform}


def bind(settings: ServerSettings) -> socket.socket:
    """The bound socket; port 0 takes any that is free. UsageError."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD
        )  # connections inherit it
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        raise UsageError(
            f"cannot listen on {where}: {error.strerror or error}. Choose another with --host and --port."
        ) from error
    return listener


def url_of(settings: ServerSettings, port: int) -> str:
    """The address to tell people on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 -- compared
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and that ends in peace instead of dying of the signal."""

    def __init__(self, config: uvicorn.Config, *, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what is there by now stays: to look it through again and again costs pauses
            gc.enable()
            self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _config(app: ASGIApp, settings: ServerSettings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        timeout_graceful_shutdown=max(1, round(settings.drain)),
        timeout_keep_alive=75,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except ssl.SSLError as error:
        raise UsageError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key: {error}."
        ) from error
    return config
