"""`python -m lanza.convert SOURCE TARGET TASK HASH`: one conversion, told line by line as JSON.

Each line of standard output is an object: `{"step": ...}` while it works, at the end `{"report": ...}`, or
`{"error": ..., "code": ...}`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from lanza.convert.worker import convert
from lanza.errors import LanzaError
from lanza.models.facts import read_facts


def _say(**values: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(values) + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: list[str]) -> int:
    source, target, task, content = arguments
    try:
        facts = read_facts(Path(source))
        report = convert(facts, task, Path(target), source=content, tell=lambda step: _say(step=step))
    except LanzaError as error:
        _say(error=error.message, code=error.code)
        return 1
    report.write(Path(target))
    _say(report={"accepted": report.accepted, "why": report.why, "worst": report.worst})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
