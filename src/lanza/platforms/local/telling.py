"""From an order to what its keeper is told: which command, in which sandbox, with which environment."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from lanza import __version__
from lanza.endpoints.platform import Order
from lanza.errors import Forbidden
from lanza.platforms.local.instructions import NONE, Instructions, Job, Sandbox
from lanza.platforms.local.isolation import Isolation
from lanza.platforms.local.programs import belongings, find_program, our_own

HANDLERS: Final = ("handler.py", "pipeline.py")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders: of all data, of what replicas see besides what they must, of what none of them sees."""

    data: Path
    readable: Sequence[Path] = ()
    hidden: Sequence[Path] = ()

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def server_lock(self) -> Path:
        return self.run / "lock"

    @property
    def news(self) -> Path:
        return self.run / "news"

    @property
    def converted(self) -> Path:
        return self.data / "converted"

    @property
    def prepared(self) -> Path:
        return self.data / "prepared"

    @property
    def homes(self) -> Path:
        return self.data / "homes"

    def home(self, endpoint: str) -> Path:
        """An endpoint's own, kept while it is at zero: installing a handler's packages may take minutes."""
        return self.homes / quote(endpoint, safe="")


def instructions(
    order: Order,
    places: Places,
    isolation: Isolation,
    *,
    address: str,
    orphan_after: float,
) -> Instructions:
    """What the keeper of this order is told. ModelError when a program is not there."""
    path, ours = our_own()
    program = None if order.program is None else find_program(order.program.words[0], order.folder)
    home = places.home(order.endpoint)
    readable = [*(str(it) for it in places.readable), *ours]
    if program is not None:
        readable = [*(str(it) for it in places.readable), *belongings(program, places.hidden)]
    if order.folder is not None:
        readable.append(str(order.folder))
    sandbox = Sandbox(
        isolation=isolation.kind,
        tool=isolation.tool,
        options=isolation.options,
        folder=str(order.folder or home),
        readable=tuple(readable),
        writable=(str(home),),
        hidden=tuple(str(it) for it in places.hidden),
    )
    common: dict[str, Any] = {
        "id": order.id,
        "sandbox": sandbox,
        "news": str(places.news),
        "server_lock": str(places.server_lock),
        "cpus": order.instance.cpus,
        "memory": order.instance.memory_bytes,
        "instance": f"{order.instance.type}-{order.instance.size}",
        "start_timeout": order.start_timeout,
        "orphan_after": orphan_after,
        "secrets": tuple(order.environment[name] for name in order.secrets if name in order.environment),
    }
    threads = _threads(order)
    if order.program is not None:
        assert program is not None
        given = {"HF_MODEL_DIR": str(order.folder)} if order.folder is not None else {}
        return Instructions(
            words=(str(program), *order.program.words[1:]),
            environment={"OMP_NUM_THREADS": str(threads), **given, **order.environment},
            port=0 if order.program.takes_any_port else order.program.port,
            health_route=order.program.health_route,
            **common,
        )
    return Instructions(
        words=(sys.executable, "-P", "-m", "lanza.replica", "/dev/stdin"),
        environment={"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"},
        spec=_spec(order, home, threads),
        job=_job(order, places),
        address=address,
        **common,
    )


def _threads(order: Order) -> int:
    return max(1, round(order.instance.cpus))


def _spec(order: Order, home: Path, threads: int) -> dict[str, Any]:
    """The replica's spec, but for what preparing finds out."""
    return {
        "folder": str(order.folder),
        "name": order.endpoint,
        "home": str(home),
        "threads": threads,
        # The keeper says how long it may take to stop.
        "limits": {"deadline": order.deadline, "drain": max(1.0, order.deadline)},
        "environment": dict(order.environment),
    }


def _job(order: Order, places: Places) -> Job:
    options = [
        *(["--task", order.task] if order.task else []),
        *(["--engine", order.engine] if order.engine else []),
    ]
    return Job(
        words=(
            sys.executable,
            "-P",
            "-m",
            "lanza.convert.prepare",
            str(order.folder),
            str(places.converted),
            *options,
        ),
        result=str(places.prepared / f"{_key(order)}.json"),
        writable=(str(places.converted),),
    )


def _key(order: Order) -> str:
    """What the result of preparing depends on: the files, what is asked for, what is installed."""
    assert order.folder is not None
    packages = Path(os.__file__).parent / "site-packages"
    mine = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    installed = [place.stat().st_mtime_ns for place in (packages, mine) if place.is_dir()]
    files = sorted(
        (str(it.relative_to(order.folder)), it.stat().st_size, it.stat().st_mtime_ns)
        for it in order.folder.rglob("*")
        if it.is_file()
    )
    parts = (__version__, str(order.folder), order.task, order.engine, installed, files)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def require_isolation(order: Order, isolation: Isolation, *, no_isolation: bool) -> None:
    """Forbidden, when somebody's own code would run with all that the server may do."""
    if isolation.kind != NONE or no_isolation:
        return
    handler = next(
        (it for it in HANDLERS if order.folder is not None and (order.folder / it).is_file()), None
    )
    if order.program is not None:
        what = f"the program {order.program.words[0]}"
    elif handler is not None and order.engine in (None, "handler"):
        what = f"its {handler}"
    else:
        return
    raise Forbidden(
        f"{what} is code of its own, and nothing on this machine can isolate it ({isolation}): install "
        "bubblewrap, or start the server with --no-isolation if you trust all that it runs."
    )
