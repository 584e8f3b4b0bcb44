"""A replica as a process: the socket, the signals, the model loaded behind an open door.

uvicorn speaks HTTP. On SIGTERM or Ctrl-C it stops listening, lets running requests end (bounded), and only
then is the model freed. A model that cannot be loaded ends the process with its error.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from lanza.errors import LanzaError, UsageError
from lanza.replica.app import Replica
from lanza.replica.spec import ReplicaSpec

Announce = Callable[[Replica], None]


def run(spec: ReplicaSpec, *, ready: Announce | None = None) -> None:
    """Serve until a signal. `ready` is called once, when the model is loaded.

    Raises UsageError when the address is taken, and whatever loading the model raises.
    """
    listener = bind(spec)
    if sys.platform == "win32":
        asyncio.run(_serve(spec, listener, ready))
    else:
        import uvloop

        uvloop.run(_serve(spec, listener, ready))


def bind(spec: ReplicaSpec) -> socket.socket:
    """The listening socket; port 0 takes any that is free."""
    if spec.uds is not None:
        listener = socket.socket(socket.AF_UNIX)
        address: str | tuple[str, int] = spec.uds
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in spec.host else socket.AF_INET)
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = (spec.host, spec.port)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        where = spec.uds or f"{spec.host}:{spec.port}"
        raise UsageError(
            f"cannot listen on {where}: {error.strerror or error}. Choose another with --port."
        ) from error
    return listener


async def _serve(spec: ReplicaSpec, listener: socket.socket, ready: Announce | None) -> None:
    replica = Replica(spec)
    if spec.uds is None:
        replica.port = listener.getsockname()[1]
    server = _Server(_config(replica, spec))
    loading = asyncio.create_task(_load(replica, server, ready))
    try:
        await server.serve(sockets=[listener])
    finally:
        # A model that is still loading cannot be interrupted; its thread ends with the process.
        loading.cancel()
        outcome = (await asyncio.gather(loading, return_exceptions=True))[0]
        await replica.stop()
    if isinstance(outcome, LanzaError | OSError):
        raise outcome


class _Server(uvicorn.Server):
    """uvicorn that ends in peace: its own way is to drain and then die of the signal all the same."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        if sys.platform == "win32":
            for number in numbers:
                signal.signal(number, self.handle_exit)
        else:
            loop = asyncio.get_running_loop()
            for number in numbers:
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _load(replica: Replica, server: uvicorn.Server, ready: Announce | None) -> None:
    try:
        await replica.start()
    except BaseException:
        server.should_exit = True
        raise
    if ready is not None:
        ready(replica)


def _config(replica: Replica, spec: ReplicaSpec) -> uvicorn.Config:
    return uvicorn.Config(
        replica,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        timeout_graceful_shutdown=max(1, round(spec.limits.drain)),
        timeout_keep_alive=75,
        server_header=False,
    )
