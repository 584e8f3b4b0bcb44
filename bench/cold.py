"""Cold starts: from the start of a process to its first right answer, everything on disk read before.

Servers are asked every few milliseconds until they answer; the bare script prints its answer. The first start
of each is thrown away: it writes bytecode and fills the page cache, which a second start of anything has.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from contestants import HERE, LANZA, TUTORIAL, Contestant, environment
from processes import ServerFailed
from progress import say
from servers import serving
from subject import Subject, cosine

SCRIPT: Final = HERE / "script.py"
TOKENS: Final = 14


def measure_cold_starts(subject: Subject, work: Path, *, times: int) -> dict[str, list[float]]:
    """Seconds of each start by name, after one that does not count; all three in turn."""
    found: dict[str, list[float]] = {"script": [], "lanza": [], "tutorial": []}
    for number in range(times + 1):
        seconds = {
            "script": _script(subject, work),
            "lanza": _server(LANZA, subject, work),
            "tutorial": _server(TUTORIAL, subject, work),
        }
        if number:
            say("cold start  " + "   ".join(f"{name} {value:.3f} s" for name, value in seconds.items()))
            for name, value in seconds.items():
                found[name].append(value)
    return found


def _server(contestant: Contestant, subject: Subject, work: Path) -> float:
    with serving(contestant, subject, {}, work, tokens=TOKENS) as running:
        return running.cold_start


def _script(subject: Subject, work: Path) -> float:
    command = [sys.executable, str(SCRIPT), str(subject.folder), subject.texts[TOKENS][0]]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(work)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if not line or cosine(np.array(json.loads(line)), subject.vectors[TOKENS][0]) < subject.least_cosine:
        raise ServerFailed(f"{SCRIPT.name} answered {line[:100]!r}")
    return seconds
