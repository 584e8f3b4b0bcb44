"""What a client costs a request: the gateway's own connections against aiohttp, in one process, by turns.

One upstream that answers a few bytes listens on a Unix socket, in a process of its own; here so many tasks
ask it again and again. What counts is the CPU of this process, which says about the same on a busy machine;
the time on the clock is given beside it.

    python bench/gateway/clients.py [--requests 5000] [--tasks 1 32]
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import uvloop

from lanza.gateway.connections import Connections
from lanza.gateway.heads import request_head

ROUNDS: Final = 5
BODY: Final = b'{"inputs": "hola"}'
UPSTREAM: Final = """
import sys, uvicorn
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"12")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"length":4}'})
uvicorn.run(app, uds=sys.argv[1], http="httptools", loop="uvloop", ws="none", lifespan="off",
            access_log=False, log_config=None)
"""

Ask = Callable[[], Awaitable[bytes]]


async def measured(ask: Ask, *, requests: int, tasks: int) -> tuple[float, float]:
    """Microseconds of CPU and of the clock, for each request."""

    async def again() -> None:
        for _ in range(requests // tasks):
            assert await ask() == b'{"length":4}'

    await ask()
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.gather(*(again() for _ in range(tasks)))
    count = requests // tasks * tasks
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - clock) / count * 1e6


async def main(socket: str, requests: int, all_tasks: list[int]) -> None:
    connections = Connections(f"unix:{socket}", connect_timeout=5)
    headers = [(b"content-type", b"application/json"), (b"accept", b"*/*")]

    async def ours() -> bytes:
        head = request_head("POST", b"/", headers, host=b"localhost", more=[], length=len(BODY))
        connection = await connections.take()
        answer = await connection.ask(head + BODY)
        connections.give_back(connection)
        return answer.body

    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket, limit=0)) as session:
        plain = {"Content-Type": "application/json", "Accept": "*/*"}

        async def theirs() -> bytes:
            async with session.post("http://localhost/", data=BODY, headers=plain) as response:
                return await response.read()

        clients: dict[str, Ask] = {"ours": ours, "aiohttp": theirs}
        for tasks in all_tasks:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
            for _ in range(ROUNDS):
                for name, ask in clients.items():
                    found[name].append(await measured(ask, requests=requests, tasks=tasks))
            for name, each in found.items():
                cpu, clock = (median(column) for column in zip(*each, strict=True))
                print(f"{tasks:>3} at once  {name:<8} CPU {cpu:6.1f} us   clock {clock:6.1f} us a request")
    connections.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 32])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lanza-bench-") as folder:
        path = Path(folder) / "upstream.sock"
        process: subprocess.Popen[Any] = subprocess.Popen([sys.executable, "-c", UPSTREAM, str(path)])
        try:
            while not path.exists():
                time.sleep(0.05)
            uvloop.run(main(str(path), given.requests, given.tasks))
        finally:
            process.terminate()
            process.wait()
