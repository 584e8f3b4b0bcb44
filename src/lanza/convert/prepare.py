"""`python -m lanza.convert.prepare FOLDER STORE [--task TASK] [--engine ENGINE]`: make ready to serve.

What `lanza serve` does before it serves, as a job of a supervisor's. Each line of standard output is an
object: `{"step": ...}` while it works, at the end `{"prepared": {...}}` with what a replica's spec takes of
it and the bytes of memory that serving needs, or `{"error": ..., "code": ...}`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from lanza.convert.preparation import Prepared, prepare
from lanza.convert.report import one_line
from lanza.convert.store import Store
from lanza.errors import LanzaError
from lanza.models.facts import read_facts
from lanza.models.memory import needs, stored_need


def main(arguments: list[str]) -> int:
    asked = _parser().parse_args(arguments)
    try:
        facts, store = read_facts(asked.folder), Store(asked.store)
        found = prepare(facts, task=asked.task, engine=asked.engine, store=store, tell=_step)
        _say(prepared=answer(found))
    except LanzaError as error:
        # who reads it knows no folder of the server's
        _say(error=error.message.replace(str(asked.folder), "the model's folder"), code=error.code)
        return 1
    return 0


def answer(found: Prepared) -> dict[str, Any]:
    """What a supervisor has to know."""
    return {
        "engine": found.engine,
        "why": one_line(found.why),
        "task": found.task,
        "graph": str(found.graph) if found.graph else None,
        "needs": _needs(found),
    }


def _needs(found: Prepared) -> int:
    """Bytes of memory, as far as they can be told: what a handler takes is its own business."""
    if found.engine == "handler":
        return 0
    base = read_facts(found.facts.base_path) if found.facts.base_path is not None else None
    need = stored_need(needs(found.facts, base, found.engine))
    return need.total if need is not None else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lanza.convert.prepare")
    parser.add_argument("folder", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--task")
    parser.add_argument("--engine")
    return parser


def _step(step: str) -> None:
    _say(step=step)


def _say(**values: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(values) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
