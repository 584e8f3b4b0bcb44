"""The measurement itself: for each load, rounds in which everyone has a turn; only one runs at a time.

Turns of one round are near in time, so their ratios hold even where the machine's speed drifts from round to
round. A server is started anew for each turn, has its answers checked, is warmed up, and is then measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bare import SCOUTING_SECONDS, Setting, run_loop, scout
from contestants import ALL, Contestant, Settings
from load import LOADS, Figures, Load, NothingAnswered, run_wrk
from progress import say
from servers import check_all, serving
from subject import Subject

Choose = Callable[[Contestant, str, Load], Settings]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how often. `only`: the names of contestants, empty for all."""

    seconds: float
    warm_up: float
    rounds: int
    work: Path
    only: Sequence[str] = ()
    loads: Sequence[Load] = field(default=LOADS)

    def takes_part(self, contestant: Contestant) -> bool:
        return not self.only or contestant.name in self.only


def measure_all(subjects: Sequence[Subject], plan: Plan, choose: Choose) -> list[dict[str, Any]]:
    """One record for each precision and load: the loop's best setting and the figures of every round."""
    return [measure_load(subject, load, plan, choose) for subject in subjects for load in plan.loads]


def measure_load(subject: Subject, load: Load, plan: Plan, choose: Choose) -> dict[str, Any]:
    seconds = min(SCOUTING_SECONDS, plan.seconds / 4)
    best, tried = scout(subject, load, plan.work, seconds=seconds)
    say(f"{subject.precision}, {load.key}: the loop is best with {best.words} ({len(tried)} tried)")
    taking_part = [contestant for contestant in ALL if plan.takes_part(contestant)]
    chosen = {contestant.name: choose(contestant, subject.precision, load) for contestant in taking_part}
    return {
        "precision": subject.precision,
        "tokens": load.tokens,
        "clients": load.clients,
        "loop": best.words,
        "nearness": subject.nearness[load.tokens],
        "settings": {name: dict(settings) for name, settings in chosen.items() if settings},
        "rounds": [
            _round(number, subject, load, plan, best, taking_part, chosen) for number in range(plan.rounds)
        ],
    }


def _round(
    number: int,
    subject: Subject,
    load: Load,
    plan: Plan,
    best: Setting,
    taking_part: Sequence[Contestant],
    chosen: Mapping[str, Settings],
) -> dict[str, Any]:
    strict = replace(best, seconds=plan.seconds)
    loops = [strict, replace(strict, whole=True)]
    bare, whole = run_loop(loops, subject, load, plan.work)
    figures = {"bare": bare, "bare_whole": whole}
    for contestant in taking_part:
        figures[contestant.name] = turn(contestant, subject, load, plan, chosen[contestant.name])
    for name, measured in figures.items():
        say(f"  round {number + 1}  {name:<11} {measured.words}")
    return {name: asdict(measured) for name, measured in figures.items()}


def turn(contestant: Contestant, subject: Subject, load: Load, plan: Plan, settings: Settings) -> Figures:
    """One server's turn. Raises ServerFailed, LoadFailed: garbage is not measured."""
    bodies = [contestant.body(text) for text in subject.texts[load.tokens]]

    def send(seconds: float) -> Figures:
        return run_wrk(running.url, bodies, clients=load.clients, seconds=seconds, work=plan.work)

    with serving(contestant, subject, settings, plan.work, tokens=load.tokens) as running:
        check_all(running, subject, load.tokens)
        with suppress(NothingAnswered):
            send(plan.warm_up)
        before = running.cpu_seconds()
        figures = send(plan.seconds)
        answers = figures.per_second * plan.seconds
        return replace(figures, cpu_ms=(running.cpu_seconds() - before) * 1e3 / answers)
