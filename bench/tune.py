"""The peers' best settings: searched one setting at a time, kept in tuned.json with what each try gave.

From a sensible beginning, each setting's other values are tried in turn and the best is kept; a second pass
follows when the first changed something. The best is the highest rate for many clients, the lowest p50 for
one. A try whose server refuses or errs is recorded with its reason and cannot win.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from contestants import TUNED, Contestant, Settings
from load import Figures, Load, LoadFailed
from processes import ServerFailed
from progress import say
from rounds import Plan, turn
from subject import Subject

FILE: Final = Path(__file__).with_name("tuned.json")
PASSES: Final = 2


class Search:
    """Tries of the values in `grid` under one load; `attempt` makes one, and each setting is tried once."""

    def __init__(
        self,
        grid: Mapping[str, Sequence[Any]],
        attempt: Callable[[Settings], Figures],
        *,
        clients: int,
        passes: int = PASSES,
    ) -> None:
        self._grid, self._attempt, self._clients, self._passes = grid, attempt, clients, passes
        self._scores: dict[str, float] = {}
        self.tries: list[dict[str, Any]] = []

    def score(self, settings: Settings) -> float:
        """Higher is better; minus infinity for settings that do not serve."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self._scores:
            self._scores[key] = self._try(settings)
        return self._scores[key]

    def _try(self, settings: Settings) -> float:
        try:
            figures = self._attempt(settings)
        except (ServerFailed, LoadFailed) as error:
            say(f"  {dict(settings)}: {error}")
            self.tries.append({"settings": dict(settings), "failed": str(error).partition("\n")[0]})
            return float("-inf")
        say(f"  {dict(settings)}: {figures.words}")
        self.tries.append({"settings": dict(settings), **asdict(figures)})
        return -figures.p50_ms if self._clients == 1 else figures.per_second

    def run(self) -> Settings:
        best: Settings = {name: values[0] for name, values in self._grid.items()}
        for _ in range(self._passes):
            before = best
            for name, values in self._grid.items():
                best = max(({**best, name: value} for value in values), key=self.score)
            if best == before:
                break
        return best


def tune(subjects: Sequence[Subject], plan: Plan, machine: Mapping[str, Any]) -> None:
    """Search for all peers and loads of `plan`; tuned.json is written after each, so that none is lost."""
    known = read()
    entries = {entry_key(entry): entry for entry in known.get("entries", [])}
    for subject in subjects:
        for load in plan.loads:
            for contestant in TUNED:
                if not plan.takes_part(contestant):
                    continue
                say(f"tuning {contestant.title}, {subject.precision}, {load.key}")
                attempt = partial(turn, contestant, subject, load, plan)
                search = Search(contestant.grid, attempt, clients=load.clients)
                best = search.run()
                entry = {
                    "contestant": contestant.name,
                    "precision": subject.precision,
                    "tokens": load.tokens,
                    "clients": load.clients,
                    "settings": dict(best),
                    "tries": search.tries,
                }
                entries[entry_key(entry)] = entry
                write({"machine": dict(machine), "entries": list(entries.values())})


def entry_key(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("contestant", "precision", "tokens", "clients"))


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    return found


def write(tuned: Mapping[str, Any]) -> None:
    FILE.write_text(json.dumps(tuned, indent=1) + "\n")


def settings_of(tuned: Mapping[str, Any], contestant: Contestant, precision: str, load: Load) -> Settings:
    """What was found best; FP32's where this precision was not tuned, the beginning where nothing was."""
    entries = {entry_key(entry): entry["settings"] for entry in tuned.get("entries", [])}
    for tried in (precision, "fp32"):
        key = (contestant.name, tried, load.tokens, load.clients)
        if key in entries:
            chosen: Settings = entries[key]
            return chosen
    return contestant.first_settings
