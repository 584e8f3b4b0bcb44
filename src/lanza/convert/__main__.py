"""`python -m lanza.convert SOURCE TARGET TASK HASH [GRAPH]`: one conversion, told line by line as JSON.

With GRAPH, an ONNX model that exists is compared with the weights in SOURCE, and nothing is exported. Each
line of standard output is an object: `{"step": ...}` while it works, at the end `{"report": ...}`, or
`{"error": ..., "code": ...}`. It ends when its standard input does: whoever asked for it is gone then.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import orjson

from lanza.convert.worker import convert, verify
from lanza.errors import ConversionFailed, LanzaError
from lanza.models.facts import read_facts


def _say(**values: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(values) + b"\n")
    sys.stdout.buffer.flush()


def _step(step: str) -> None:
    _say(step=step)


def _end_with_parent(target: Path) -> None:
    """Wait until standard input ends, then leave at once, with nothing left behind."""
    while os.read(0, 4096):
        pass
    shutil.rmtree(target, ignore_errors=True)
    os._exit(1)


def main(arguments: list[str]) -> int:
    source, target, task, content, *graph = arguments
    threading.Thread(target=_end_with_parent, args=(Path(target),), daemon=True).start()
    try:
        facts = read_facts(Path(source))
        if graph:
            report = verify(facts, task, Path(graph[0]), source=content, tell=_step)
        else:
            report = convert(facts, task, Path(target), source=content, tell=_step)
        report.write(Path(target))
    except LanzaError as error:
        _say(error=error.message, code=error.code)
        return 1
    except OSError as error:
        _say(error=f"the export cannot be written: {error}", code=ConversionFailed.code)
        return 1
    _say(report={"accepted": report.accepted, "why": report.why, "worst": report.worst})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
