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
from pathlib import Path

import uvicorn

from lanza.errors import LanzaError, ModelError, UsageError
from lanza.replica.app import Replica
from lanza.replica.spec import ReplicaSpec
from lanza.writes import Protocol

log = logging.getLogger("lanza.replica")

Announce = Callable[[Replica], None]


def run(spec: ReplicaSpec, *, ready: Announce | None = None) -> None:
    """Serve until a signal. `ready` is called once, when the model is loaded.

    Raises UsageError when the address is taken, and whatever loading the model raises.
    """
    listener = bind(spec)
    try:
        if sys.platform == "win32":
            asyncio.run(_serve(spec, listener, ready))
        else:
            import uvloop

            uvloop.run(_serve(spec, listener, ready))
    finally:
        if spec.uds is not None:
            Path(spec.uds).unlink(missing_ok=True)


def bind(spec: ReplicaSpec) -> socket.socket:
    """The listening socket; port 0 takes any that is free."""
    if spec.inherited is not None:
        return _inherited(spec.inherited)
    if spec.uds is not None:
        _unlink_abandoned(spec.uds)
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
        other = "" if spec.uds else " Choose another with --port."
        raise UsageError(f"cannot listen on {where}: {error.strerror or error}.{other}") from error
    return listener


def _inherited(number: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=number)
    except OSError as error:
        raise UsageError(f"number {number} is no socket: {error.strerror or error}.") from error
    listener.set_inheritable(False)  # what a handler starts must not keep it open
    return listener


def _unlink_abandoned(path: str) -> None:
    """Remove a Unix socket that a replica which was killed has left: nobody accepts on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return  # not there, or not ours to judge: binding will tell


async def _serve(spec: ReplicaSpec, listener: socket.socket, ready: Announce | None) -> None:
    replica = Replica(spec)
    if listener.family != getattr(socket, "AF_UNIX", None):
        replica.port = listener.getsockname()[1]
    server = _Server(_config(replica, spec))
    loading = asyncio.create_task(_load(replica, server, ready))
    try:
        await server.serve(sockets=[listener])
    finally:
        loading.cancel()
        outcome = (await asyncio.gather(loading, return_exceptions=True))[0]
        await replica.stop()
    if isinstance(outcome, LanzaError):
        raise outcome
    if isinstance(outcome, Exception):
        log.error("the model could not be loaded", exc_info=outcome)
        raise ModelError(f"the model could not be loaded: {type(outcome).__name__}: {outcome}") from outcome


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
        if ready is not None:
            ready(replica)
    except BaseException:
        server.should_exit = True
        raise


def _config(replica: Replica, spec: ReplicaSpec) -> uvicorn.Config:
    return uvicorn.Config(
        replica,
        http=Protocol,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        timeout_graceful_shutdown=max(1, round(spec.limits.drain)),
        timeout_keep_alive=75,
        server_header=False,
    )
