"""One life of the handler's process, from its start to its death, and the calls that it has.

Frames go over a socket pair that only the two processes hold. Two threads serve it: one logs what it prints,
one waits for its end; all else happens on the event loop. Starting it again is `process.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from lanza.engines.base import HandlerAnswer, HandlerRequest
from lanza.engines.handler.calls import Call, Reply
from lanza.engines.handler.child.wire import MAX_BODY, BrokenFrame, FrameDecoder, encode_frame
from lanza.engines.handler.lines import LineLog, forward
from lanza.errors import BadRequest, EngineRestarting, ModelError, PayloadTooLarge

logger = logging.getLogger("lanza.handler")

POLITE_SECONDS = 2.0
"""How long the process has to end by itself when asked, and again when terminated, before it is killed."""

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one way to end a process
_PROGRAM = Path(__file__).parent / "child" / "__main__.py"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start the process: the interpreter of its environment, the model's folder, its variables."""

    python: Path
    folder: Path
    environment: Mapping[str, str]

    def start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process, in a group of its own, and our end of the line to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            if sys.platform == "win32":
                process = self._open("-", stdin=subprocess.PIPE)
                with process.stdin:
                    process.stdin.write(theirs.share(process.pid).hex().encode() + b"\n")
            else:
                number = theirs.fileno()
                process = self._open(str(number), pass_fds=(number,), start_new_session=True)
        return process, ours

    def _open(self, line: str, **how: Any) -> subprocess.Popen[bytes]:
        # -P: neither this program's folder nor the working one is searched for modules
        command = [self.python, "-u", "-B", "-P", _PROGRAM, line, self.folder]
        return subprocess.Popen(
            [str(part) for part in command],
            **{"stdin": subprocess.DEVNULL, **how},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=dict(self.environment),
        )


class Worker(asyncio.Protocol):
    """`gone` tells how the process ended, once it has. Made by `launch`, on the event loop that it serves."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._exited = threading.Event()
        self._ending = threading.Lock()
        self._ended = False
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder()
        self._calls: dict[int, Call] = {}
        self._numbers = itertools.count(1)
        self._failure = ""
        self._lines = LineLog()
        self._log = forward(os.dup(process.stdout.fileno()), self._lines, logger)
        process.stdout.close()
        threading.Thread(target=self._wait, name="handler-wait", daemon=True).start()

    @classmethod
    async def launch(cls, launch: Launch) -> Worker:
        """Start a process and wait until its handler is loaded. ModelError with its last words if not."""
        process, line = launch.start()
        worker = cls(process)
        try:
            loop = asyncio.get_running_loop()
            if sys.platform == "win32":
                await loop.create_connection(lambda: worker, sock=line)
            else:
                await loop.create_unix_connection(lambda: worker, sock=line)
            await worker._ready
        finally:
            if not worker.is_ready:
                worker.kill()
        return worker

    @property
    def is_ready(self) -> bool:
        return self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None

    async def call(self, request: HandlerRequest) -> HandlerAnswer:
        """Raises NeverStarted when the process died before it came to this request."""
        number = next(self._numbers)
        content_type, body = _encode(request)
        call = self._calls[number] = Call(number, self._control, request.patience)
        try:
            self._send(
                {"op": "call", "id": number, "content_type": content_type, "accept": request.accept}, body
            )
            if self.gone.done():
                call.die(_restarting(self.gone.result()))
            return await call.reply
        except asyncio.CancelledError:
            call.cancel()
            raise

    def stop(self) -> None:
        """Ask the process to end, then make it. Blocks for at most three times `POLITE_SECONDS`."""
        if self._exited.is_set():
            return
        if _running_loop() is self._loop:
            self._send({"op": "stop"})
        else:
            # a closed loop has closed the line as well, and the process ends by itself
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._send, {"op": "stop"})
        for number in (signal.SIGTERM, _KILL):
            if self._exited.wait(POLITE_SECONDS):
                return
            self._signal(number)
        self._exited.wait(POLITE_SECONDS)

    def kill(self) -> None:
        """At once. It does no harm to a process that has ended."""
        self._signal(_KILL)

    def _signal(self, number: int) -> None:
        # Popen's own way reaps a process that has ended, under the feet of the thread that waits for it
        with self._ending, contextlib.suppress(ProcessLookupError):
            if not self._ended:
                os.kill(self._process.pid, number)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for header, body in self._decoder.feed(data):
                self._receive(msgspec.json.decode(header, type=Reply), body)
        except (BrokenFrame, msgspec.MsgspecError) as error:
            logger.error("the handler wrote into its replica's line (%s): its process is killed", error)
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.kill()  # without its line it can answer nothing any more
        self._finish()

    def _receive(self, reply: Reply, body: bytes) -> None:
        if reply.op == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif reply.op == "failed":
            self._failure = f"{reply.message} ({reply.where})" if reply.where else reply.message
        elif (call := self._calls.get(reply.id)) and call.receive(reply, body):
            del self._calls[reply.id]

    def _control(self, header: Mapping[str, Any]) -> None:
        """Send what a call has to say while it waits; one that is cancelled gets nothing more."""
        if header["op"] == "cancel" and self._calls.pop(header["id"], None) is None:
            return
        self._send(header)

    def _send(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_frame(header, body))

    def _wait(self) -> None:
        """Runs in a thread: waits for the end, and ends what the process started and left behind."""
        if sys.platform == "linux":
            # until it is reaped, its number cannot be another's
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.wait()
        self._log.join(POLITE_SECONDS)
        with self._ending:
            self._ended = True
        self._process.wait()
        self._exited.set()
        with contextlib.suppress(RuntimeError):  # the loop ended before us
            self._loop.call_soon_threadsafe(self._after_exit)

    def _after_exit(self) -> None:
        if self._transport is not None:
            # what it said last is read first; a process that left its group may hold the line open
            self._loop.call_later(POLITE_SECONDS, self._transport.abort)
        self._finish()

    def _finish(self) -> None:
        """Once the process has ended and all that it said is read, every call of its is over."""
        if not self._exited.is_set() or self._transport is not None or self.gone.done():
            return
        cause = describe_end(self._process.returncode)
        self.gone.set_result(cause)
        if not self._ready.done():
            self._ready.set_exception(self._load_error(cause))
        for call in self._calls.values():
            call.die(_restarting(cause))
        self._calls.clear()

    def _load_error(self, cause: str) -> ModelError:
        told = self._failure or f"its process {cause} while it loaded"
        hint = " Add the package to a requirements.txt beside it." if "ModuleNotFoundError" in told else ""
        last = "".join(f"\n    {line}" for line in self._lines.last)
        printed = f"\nIt printed last:{last}" if last else ""
        return ModelError(f"The handler cannot be loaded: {told}.{hint}{printed}")


def describe_end(status: int) -> str:
    """How a process ended, from its exit status; negative for a signal."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _restarting(cause: str) -> EngineRestarting:
    return EngineRestarting(
        f"The handler's process {cause} during this request and is being started again: try again, and look "
        "at the replica's log if this input always does it."
    )


def _encode(request: HandlerRequest) -> tuple[str, bytes]:
    if isinstance(request.data, bytes):
        content_type, body = request.content_type, request.data
    elif isinstance(request.data, dict):
        content_type, body = "application/json", json.dumps(request.data).encode()
    else:
        raise BadRequest('A handler takes a JSON object: send {"inputs": ...}.')
    if len(body) > MAX_BODY:
        raise PayloadTooLarge(f"The body has {len(body)} bytes, and a handler gets at most {MAX_BODY}.")
    return content_type, body


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
