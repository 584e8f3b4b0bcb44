"""`lanza serve`: a model folder as an API, on this machine, with no server behind it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lanza.convert.preparation import Prepared, Tell
    from lanza.replica.app import Replica
    from lanza.replica.spec import ReplicaSpec


def serve(
    model: Annotated[Path, typer.Argument(help="The model's folder.")],
    task: Annotated[str | None, typer.Option(help="What to serve it for; else what the folder says.")] = None,
    engine: Annotated[str | None, typer.Option(help="onnx, transformers or handler; else the best.")] = None,
    host: Annotated[str, typer.Option(envvar="LANZA_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="LANZA_PORT", min=0, max=65535, help="Port; 0 takes one that is free.")
    ] = 8421,
    max_batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a batch, padding counted; else what is fastest.")
    ] = None,
    max_body: Annotated[float, typer.Option(min=0.001, help="Largest request body, in MiB.")] = 32,
    max_waiting: Annotated[int, typer.Option(min=1, help="Sequences that may wait before 429s.")] = 8192,
    deadline: Annotated[float, typer.Option(min=0.01, help="Seconds that a request may take.")] = 60,
    drain: Annotated[float, typer.Option(min=1, help="Seconds for the last requests when stopped.")] = 30,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores to use; else all.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that browsers may call it by; may be repeated.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for a handler's process; may be repeated.")
    ] = None,
) -> None:
    """Serve a model folder: POST / answers, GET /docs explains."""
    from lanza.replica.process import run
    from lanza.replica.spec import LOOPBACK, MIB, Limits, ReplicaSpec
    from lanza.settings import Settings

    settings = Settings.read()
    _log_to_stderr()
    with progress() as tell:
        ready = _prepare(model, task, engine, settings.converted, tell)
    spec = ReplicaSpec(
        folder=str(ready.facts.path),
        engine=ready.engine,
        why=ready.why,
        name=model.absolute().name,
        home=str(settings.home),
        task=ready.task,
        graph=str(ready.graph) if ready.graph else None,
        host=host,
        port=port,
        threads=threads,
        hosts=allow_host or [],
        environment=_pairs(env or []),
        limits=Limits(
            batch_tokens=max_batch_tokens,
            body_bytes=int(max_body * MIB),
            waiting=max_waiting,
            deadline=deadline,
            drain=drain,
        ),
    )
    if host not in LOOPBACK:
        print(f"lanza: anyone who reaches {host} can use this model: no token is asked for.", file=sys.stderr)
    run(spec, ready=_announce)


def _prepare(folder: Path, task: str | None, engine: str | None, converted: Path, tell: Tell) -> Prepared:
    from lanza.convert.preparation import prepare
    from lanza.convert.store import Store
    from lanza.models.facts import read_facts

    return prepare(read_facts(folder), task=task, engine=engine, store=Store(converted), tell=tell)


@contextmanager
def progress() -> Iterator[Any]:
    """Somebody who tells people what is being done: a spinner in a terminal, else a line a step.

    Rich is loaded at the first step, for most starts have none.
    """
    status: Any = None

    def tell(step: str) -> None:
        nonlocal status
        from rich.console import Console

        console = Console(stderr=True)
        if not console.is_terminal:
            print(f"lanza: {step}", file=sys.stderr, flush=True)
        elif status is None:
            status = console.status(step)
            status.start()
        else:
            status.update(step)

    try:
        yield tell
    finally:
        if status is not None:
            status.stop()


def _pairs(given: list[str]) -> dict[str, str]:
    from lanza.errors import UsageError

    pairs = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise UsageError("--env wants NAME=VALUE.")
        pairs[name] = value
    return pairs


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _announce(replica: Replica) -> None:
    """Where it listens and how to ask it, once the model is loaded."""
    info = replica.info()
    url = _url(replica.spec, replica.port)
    print(f"{info['model']} is served at {url}")
    if info["task"] is not None:
        print(f"  task    {info['task']}")
    print(f"  engine  {info['engine']}: {info['why']}")
    print(f"  ask     {_curl(url, replica)}")
    print(f"  page    {url}/docs", flush=True)


def _url(spec: ReplicaSpec, port: int) -> str:
    host = "127.0.0.1" if spec.host in ("0.0.0.0", "::") else spec.host  # noqa: S104 -- compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _curl(url: str, replica: Replica) -> str:
    import json

    if replica.task is None:
        return f"""curl {url} -H 'Content-Type: application/json' -d '{{"inputs": "..."}}'"""
    if replica.task.media != "text":
        return f"curl {url} --data-binary @FILE"
    body = json.dumps(replica.task.example, ensure_ascii=False).replace("'", "'\\''")
    return f"curl {url} -H 'Content-Type: application/json' -d '{body}'"
