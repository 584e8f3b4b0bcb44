"""Who takes part: how each is started, where it is asked, and which of its settings are worth a search.

The answers of all are the same vector, as JSON. What differs on the wire is what each framework wants:
BentoML batches lists only, so it is sent a list of one text.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Settings = Mapping[str, Any]
HERE: Final = Path(__file__).parent
CORES: Final = len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Stand:
    """What a server is started with."""

    folder: Path
    port: int
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """`command` starts it for a stand; `body` is one request for a text.

    `wants` is what it loads: the graph that is compared, or the weights that it was made from. `grid` has the
    values of each setting that tuning tries, beginning at the first of each.
    """

    name: str
    title: str
    path: str
    command: Callable[[Stand], Sequence[str]]
    body: Callable[[str], bytes]
    wants: Literal["graph", "weights"] = "graph"
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def first_settings(self) -> Settings:
        return {name: values[0] for name, values in self.grid.items()}


def for_stand(stand: Stand, work: Path) -> dict[str, str]:
    """The environment of a server: `environment` and what the peers' modules read from it."""
    return environment(work) | {
        "BENCH_FOLDER": str(stand.folder),
        "BENCH_PORT": str(stand.port),
        "BENCH_SETTINGS": json.dumps(stand.settings),
    }


def environment(work: Path) -> dict[str, str]:
    """The same for all, without what is set for developing: bytecode is written, output is buffered."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LANZA_"))}
    return kept | {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(work / "bentoml"),
        "HF_HUB_OFFLINE": "1",
        "LANZA_HOME": str(work / "lanza"),
        "PYTHONPATH": str(HERE.parent),
        "TOKENIZERS_PARALLELISM": "false",
    }


def one(text: str) -> bytes:
    """A request for a text."""
    return json.dumps({"inputs": text}).encode()


def many(text: str) -> bytes:
    """A request for a list of one text."""
    return json.dumps({"inputs": [text]}).encode()


def _lanza(stand: Stand) -> Sequence[str]:
    program = str(Path(sys.executable).with_name("lanza"))
    return [program, "serve", str(stand.folder), "--task", "feature-extraction", "--port", str(stand.port)]


def _litserve(stand: Stand) -> Sequence[str]:
    return [sys.executable, str(HERE / "litserve_app.py")]


def bentoml(service: str) -> Callable[[Stand], Sequence[str]]:
    """The command that serves `service`, as `module:Class`."""

    def command(stand: Stand) -> Sequence[str]:
        program = str(Path(sys.executable).with_name("bentoml"))
        where = ["--working-dir", str(HERE.parent), "--host", "127.0.0.1", "--port", str(stand.port)]
        return [program, "serve", service, *where, "--timeout-keep-alive", "75"]

    return command


def _tutorial(stand: Stand) -> Sequence[str]:
    return [sys.executable, str(HERE / "tutorial_app.py")]


LANZA: Final = Contestant(name="lanza", title="Lanza", path="/", command=_lanza, body=one)

LITSERVE: Final = Contestant(
    name="litserve",
    title="LitServe",
    path="/predict",
    command=_litserve,
    body=one,
    grid={
        "max_batch_size": (32, 1, 8, 16, 64),
        "batch_timeout": (0.002, 0.0, 0.001, 0.005, 0.01),
        "workers_per_device": tuple(dict.fromkeys((CORES, 1))),
        "threads": tuple(dict.fromkeys((1, CORES))),
        "fast_queue": (False, True),
        "num_api_servers": tuple(dict.fromkeys((1, 2, CORES))),
    },
)

BENTOML: Final = Contestant(
    name="bentoml",
    title="BentoML",
    path="/predict",
    command=bentoml("contestants.bentoml_app:Encoder"),
    body=many,
    grid={
        "batchable": (True, False),
        "max_batch_size": (32, 8, 16, 64),
        "max_latency_ms": (60000, 100, 1000),
        "workers": tuple(dict.fromkeys((CORES, 1))),
        "threads": tuple(dict.fromkeys((1, CORES))),
        "service_threads": tuple(dict.fromkeys((1, CORES))),
    },
)

TUTORIAL: Final = Contestant(
    name="tutorial",
    title="FastAPI + transformers",
    path="/predict",
    command=_tutorial,
    body=one,
    wants="weights",
)

ALL: Final = (LANZA, LITSERVE, BENTOML, TUTORIAL)
TUNED: Final = (LITSERVE, BENTOML)
