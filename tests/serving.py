"""A real replica on a real port, for tests: in a thread of this process, or as the command that users run.

In a thread, so that torch is loaded once for all tests; as a command, where processes are what is tested.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from lanza.convert.preparation import prepare
from lanza.convert.store import Store
from lanza.models.facts import read_facts, with_task
from lanza.replica.app import Replica
from lanza.replica.process import bind
from lanza.replica.spec import Limits, ReplicaSpec

ROOT = Path(__file__).parent.parent


@contextmanager
def served(
    folder: Path, *, home: Path, task: str | None = None, engine: str | None = None, **limits: Any
) -> Iterator[str]:
    """Serve `folder` in a thread; gives its URL."""
    store = Store(home / "converted")
    if engine == "onnx":
        export_here(folder, store, task=task)
    ready = prepare(read_facts(folder), task=task, engine=engine, store=store, tell=lambda step: None)
    spec = ReplicaSpec(
        folder=str(ready.facts.path),
        engine=ready.engine,
        why=ready.why,
        name=folder.name,
        home=str(home),
        task=ready.task,
        graph=str(ready.graph) if ready.graph else None,
        port=0,
        limits=Limits(**limits),
    )
    with running(Replica(spec)) as url:
        yield url


def export_here(folder: Path, store: Store, *, task: str | None = None) -> None:
    """Fill the store as the conversion would, but in this process and by the faster exporter.

    What users get by default, a process and the other exporter, has tests of its own.
    """
    from lanza.convert.worker import convert

    facts = read_facts(folder)
    wanted = task or facts.task
    assert wanted is not None
    source = store.source(facts)
    if facts.onnx_path is not None or store.find(source, wanted) is not None:
        return
    aside = store.begin(source, wanted)
    told = {"source": source, "tell": lambda step: None, "exporters": ("torchscript",)}
    report = convert(with_task(facts, wanted), wanted, aside, **told)  # type: ignore[arg-type]
    assert report.accepted, report.why
    report.write(aside)
    store.commit(aside, source, wanted)


@contextmanager
def running(replica: Replica) -> Iterator[str]:
    """Run a replica's application in a thread until the block ends."""
    listener = bind(replica.spec)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        replica, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None
    )
    server = uvicorn.Server(config)
    ready = threading.Event()
    failure: list[BaseException] = []

    async def main() -> None:
        try:
            await replica.start()
        except BaseException as error:  # noqa: BLE001 -- raised again in the test's own thread
            failure.append(error)
            ready.set()
            listener.close()
            return
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        ready.set()
        await serving
        await replica.stop()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(120), "the replica did not start"
    if failure:
        raise failure[0]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the replica did not stop"


@dataclass
class Command:
    """`lanza serve` as a process; `lines` is what it has printed until it was ready."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def environment(home: Path, **more: str) -> dict[str, str]:
    """The variables of a user who has set nothing but where Lanza keeps things."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "LANZA_HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", **more}


@contextmanager
def serve_command(folder: Path, *options: str, home: Path) -> Iterator[Command]:
    """`lanza serve FOLDER --port 0 OPTIONS`, ready; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lanza", "serve", str(folder), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(home),
    )
    command = Command(process)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            command.lines.append(line)
            if " is served at " in line:
                command.url = line.split()[-1]
            if line.startswith("  page"):
                break
        assert command.url, "".join(command.lines)
        # What it prints later must not fill the pipe and stop it.
        reader = threading.Thread(target=lambda out=process.stdout: command.lines.extend(out), daemon=True)
        reader.start()
        yield command
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        if command.url:
            reader.join(30)
        process.stdout.close()
