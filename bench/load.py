"""Load by wrk: one thread of C, so that what makes it takes little of the cores that are measured."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCRIPT: Final = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """A request was not answered with success: such a run says nothing about speed."""


class NothingAnswered(LoadFailed):
    """The time was too short for even one answer."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent: texts of so many `tokens`, by so many `clients` that each wait for their answer."""

    tokens: int
    clients: int

    @property
    def key(self) -> str:
        return f"{self.tokens} tokens, {self.clients} client{'s' if self.clients > 1 else ''}"


LOADS: Final = tuple(Load(tokens=tokens, clients=clients) for clients in (32, 1) for tokens in (14, 128))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Answers (or texts) per second, the latency of one in milliseconds, and what it cost the CPU.

    `cpu_ms` is all that the server's processes computed, a text: it says why one is slower than another, also
    where cores are shared.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float = 0.0

    @property
    def words(self) -> str:
        latency = f"p50 {self.p50_ms:7.2f} ms   p99 {self.p99_ms:7.2f} ms"
        return f"{self.per_second:8.1f}/s   {latency}   CPU {self.cpu_ms:6.2f} ms"


def run_wrk(
    url: str,
    bodies: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    work: Path,
    headers: Mapping[str, str] | None = None,
) -> Figures:
    """Ask `url` for `seconds` (whole ones: wrk knows no others). LoadFailed on any answer but success."""
    lines = work / "bodies.jsonl"
    lines.write_bytes(b"\n".join(bodies) + b"\n")
    command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, "-s", str(SCRIPT), url, "--", str(lines)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LoadFailed(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
    return read_summary(done.stdout)


def read_summary(output: str) -> Figures:
    """The figures on the last line that load.lua prints."""
    summary: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    if not summary["requests"] and not summary["broken"]:
        raise NothingAnswered("not one answer came in time: measure for longer, with --seconds")
    if summary["refused"] or summary["broken"]:
        raise LoadFailed(
            f"{summary['refused']} answers were errors and {summary['broken']} connections broke "
            f"among {summary['requests']} requests"
        )
    return Figures(
        per_second=summary["requests"] / summary["seconds"],
        p50_ms=summary["p50_ms"],
        p99_ms=summary["p99_ms"],
    )
