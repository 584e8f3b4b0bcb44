"""The life of the handler's process: connect, load the handler, answer until told to stop.

When the replica is gone, however it went, so are this process and whatever it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from .calls import Channel
from .loading import load_handler
from .service import Service
from .trial import Trial, describe, report
from .watchdog import Watchdog
from .wire import FrameDecoder

Deliver = Callable[[dict[str, Any], bytes], None]


def main(arguments: list[str]) -> None:
    """`arguments`: the number of the inherited socket ("-": it is described on stdin), the model's folder."""
    faulthandler.enable()
    connection = _connect(arguments[0])
    asyncio.run(_serve(connection, arguments[1]))


async def _serve(connection: socket.socket, folder: str) -> None:
    channel = Channel(connection)
    inbox: asyncio.Queue[tuple[dict[str, Any], bytes]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    watchdog = Watchdog(loop.call_soon_threadsafe, _end_group)

    def deliver(header: dict[str, Any], body: bytes) -> None:
        if header["op"] == "cancel":
            watchdog.abandoned(header["patience"])
        loop.call_soon_threadsafe(inbox.put_nowait, (header, body))

    threading.Thread(target=_read, args=(connection, deliver), name="lanza-reader", daemon=True).start()
    with Trial() as trial:
        service = Service(load_handler(folder), channel, folder, watchdog)
    if trial.error:
        report(trial.error)
        channel.send({"op": "failed", **describe(trial.error, folder)})
        _flush()
        os._exit(1)  # threads that the handler left behind must not keep it here
    channel.send({"op": "ready"})
    receiving = asyncio.create_task(_receive(inbox, service))
    await service.stopped.wait()
    receiving.cancel()
    service.close()


async def _receive(inbox: asyncio.Queue[tuple[dict[str, Any], bytes]], service: Service) -> None:
    while True:
        service.receive(*await inbox.get())


def _connect(number: str) -> socket.socket:
    if sys.platform == "win32":
        return socket.fromshare(bytes.fromhex(sys.stdin.readline()))
    connection = socket.socket(fileno=int(number))
    # what the handler starts must not hold the line open after us
    connection.set_inheritable(False)
    return connection


def _read(connection: socket.socket, deliver: Deliver) -> None:
    """Runs in a thread of its own, so that a handler which blocks the loop cannot hide the replica's end."""
    decoder = FrameDecoder()
    try:
        with contextlib.suppress(OSError, RuntimeError):  # the connection broke, or the loop is closed
            while data := connection.recv(2**18):
                for header, body in decoder.feed(data):
                    deliver(json.loads(header), body)
    finally:
        _end_group()


def _end_group() -> None:
    """End now, with all that this process started. Nobody is left to be told."""
    _flush()
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
