"""Pickles and safetensors files, looked at by a process of their own.

The model: whoever made a file can make its reader eat memory and time without end. So the reader is a child
process with a limit to both, with nothing in its environment and no right to write. It takes a name and a
path from each line of its input and answers each with a verdict. A file that kills it cannot be scanned,
which is a verdict as well; another child goes on behind it. Nothing is unpickled.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pickletools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lanza.models.pickles import Scan, is_never_loaded
from lanza.models.pickles import scan as scan_pickle
from lanza.models.weights import read_header

log = logging.getLogger("lanza.hub.scanner")

SAFETENSORS: Final = ".safetensors"

_READY: Final = b"ready\n"
# What trainers pickle beside the weights: objects of their own classes.
_OF_TRAINERS: Final = re.compile(
    r"(?:transformers|accelerate|trl|peft|sentence_transformers|setfit)\.[\w.]+\.[A-Z]\w*"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one file may cost: seconds of a processor, bytes of memory, and operations of a pickle.

    picklescan keeps all operations, at some 150 bytes each.
    """

    seconds: int = 10
    memory: int = 2 * 2**30
    operations: int = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """`level` is "unsafe", "suspicious" or "caution"; empty for a file that is clean, or of no such kind."""

    level: str = ""
    message: str = ""


TOO_MUCH: Final = Verdict(
    level="suspicious",
    message="it cannot be scanned: reading it takes too much time or memory. Load it only if you trust "
    "whoever made it.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A file to look at: its name in the repository, and where it lies."""

    name: str
    path: Path


def scan(files: Sequence[Suspect], *, seconds: float, limits: Limits = Limits()) -> list[Verdict]:
    """A verdict on each of the files, in their order, on as many as there was time for."""
    until = time.monotonic() + seconds
    verdicts: list[Verdict] = []
    while len(verdicts) < len(files) and (left := until - time.monotonic()) > 0:
        lines, died = _run(files[len(verdicts) :], left, limits)
        if not lines:  # not even ready
            break
        verdicts += [Verdict(**json.loads(line)) for line in lines[1:]]
        if died:
            verdicts.append(TOO_MUCH)
        elif len(verdicts) < len(files):
            break
    return verdicts


def _run(files: Sequence[Suspect], seconds: float, limits: Limits) -> tuple[list[bytes], bool]:
    """The lines that a child wrote, and whether a file killed it."""
    jobs = "".join(json.dumps([file.name, str(file.path)]) + "\n" for file in files)
    command = [sys.executable, "-P", "-B", "-m", "lanza.hub.scanner", json.dumps(asdict(limits))]
    try:
        done = subprocess.run(
            command,
            input=jobs.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        return _whole_lines(expired.output), False
    except OSError as error:
        log.error("files cannot be scanned, as no process can be started: %s", error)
        return [], False
    lines = _whole_lines(done.stdout)
    if not lines:
        log.error("files cannot be scanned: the scanner ended with %s before it began", done.returncode)
    return lines, len(lines) <= len(files)


def _whole_lines(output: bytes | None) -> list[bytes]:
    return [line for line in (output or b"").splitlines(keepends=True) if line.endswith(b"\n")]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    modules = os.pathsep.join(path for path in sys.path if path)
    return {**kept, "PYTHONPATH": modules, "OPENBLAS_NUM_THREADS": "1"}


def verdict_on(name: str, path: Path) -> Verdict:
    """What is to be said of one file. Nothing is raised."""
    if PurePosixPath(name).suffix.lower() == SAFETENSORS:
        problems = read_header(path).problems
        return (
            Verdict(level="caution", message=f"it is damaged: {'; '.join(problems)}.")
            if problems
            else Verdict()
        )
    found = scan_pickle(path, suffix=PurePosixPath(name).suffix)
    if found.failure and found.is_pickle and not found.dangerous:
        why = found.failure.replace(str(path), name)
        return Verdict(
            level="suspicious",
            message=f"it cannot be scanned to its end ({why}): load it only if you trust whoever made it.",
        )
    return _judge(found, name)


def _judge(found: Scan, name: str) -> Verdict:
    unknown = tuple(
        one for one in found.unknown if not (is_never_loaded(name) and _OF_TRAINERS.fullmatch(one))
    )
    if found.dangerous:
        return Verdict(
            level="unsafe",
            message=f"it would run {_some(found.dangerous)} when loaded: do not load it anywhere.",
        )
    if unknown:
        return Verdict(
            level="suspicious",
            message=f"it needs {_some(unknown)}, which torch does not load with weights_only=True: get the "
            "weights as safetensors, or load it only if you trust whoever made it.",
        )
    return Verdict()


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def main() -> None:
    """The child: limits as its argument, paths in, verdicts out."""
    limits = Limits(**json.loads(sys.argv[1]))
    # before picklescan is imported, as it imports this by name too
    pickletools.genops = _bounded(pickletools.genops, limits.operations)  # type: ignore[assignment]
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    for line in sys.stdin:
        name, path = json.loads(line)
        _limit(limits)
        print(json.dumps(asdict(verdict_on(name, Path(path)))), flush=True)


Operations = Callable[[Any], Iterator[Any]]


def _bounded(genops: Operations, most: int) -> Operations:
    """End the process where memory does: picklescan would take that for the pickle's end."""

    def read(data: Any) -> Iterator[Any]:
        try:
            for number, operation in enumerate(genops(data)):
                if number == most:
                    sys.exit(1)
                yield operation
        except MemoryError:
            sys.exit(1)

    return read


def _limit(limits: Limits) -> None:
    """Let this process take so much more of the processor, and write no file. Not on Windows."""
    if sys.platform == "win32":
        return
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    for what, soft in (
        (resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime) + limits.seconds),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    main()
