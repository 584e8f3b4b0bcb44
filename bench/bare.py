"""The loop's best: every arrangement and batch size is tried for a moment, the best is then measured in turn
with the servers. See `loop` for what is run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from contestants import CORES, environment
from load import Figures, Load
from loop import ARRANGEMENTS, BATCHES
from subject import Subject

LOOP: Final = Path(__file__).with_name("loop.py")
SCOUTING_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way to run the loop. `streams` are callers at once; `whole` counts tokenizer and pooling in."""

    arrangement: str
    batch: int
    streams: int
    whole: bool = False
    seconds: float = SCOUTING_SECONDS

    @property
    def words(self) -> str:
        many = f"{self.streams} streams" if self.streams > 1 else "1 stream"
        threads = CORES if self.arrangement == "wide" else 1
        return (
            f"{many} of {threads} thread{'s' if threads > 1 else ''} ({self.arrangement}), batch {self.batch}"
        )


def settings_for(load: Load) -> list[Setting]:
    """For one client one text at a time, on one thread or on all; for many, everything there is."""
    if load.clients == 1:
        return [Setting(arrangement=name, batch=1, streams=1) for name in ("wide", "shared")]
    return [
        Setting(arrangement=name, batch=batch, streams=1 if name == "wide" else CORES)
        for name in (ARRANGEMENTS if CORES > 1 else ("wide",))
        for batch in BATCHES
    ]


def run_loop(settings: Sequence[Setting], subject: Subject, load: Load, work: Path) -> list[Figures]:
    order = {
        "folder": str(subject.folder),
        "texts": subject.texts[load.tokens],
        "runs": [asdict(setting) for setting in settings],
    }
    done = subprocess.run(
        [sys.executable, LOOP],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        env=environment(work),
    )
    if done.returncode:
        raise RuntimeError(f"{LOOP.name} failed:\n{done.stderr}")
    return [Figures(**json.loads(line)) for line in done.stdout.splitlines()]


def scout(subject: Subject, load: Load, work: Path, *, seconds: float) -> tuple[Setting, list[Figures]]:
    """The best setting of the loop for `load`, and the figures of all that were tried, in order."""
    settings = [replace(setting, seconds=seconds) for setting in settings_for(load)]
    figures = run_loop(settings, subject, load, work)
    if load.clients == 1:
        best = min(range(len(settings)), key=lambda i: figures[i].p50_ms)
    else:
        best = max(range(len(settings)), key=lambda i: figures[i].per_second)
    return settings[best], figures
