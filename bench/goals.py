"""Goals and what came out: ratios of rounds, bounds on their median, verdicts. Pure.

A ratio is taken within one round, between turns that were near in time; what is shown is the median of the
rounds and, in brackets, the least and the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from page import Row

HEAD: Final = ("where", "what", "goal", "median (least–most)", "met")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The middle, the least and the most of the rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(middle=median(values), least=min(values), most=max(values))

    def text(self, form: str) -> str:
        return f"{self.middle:{form}} ({self.least:{form}}–{self.most:{form}})"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on the median, and how to say it. `most` says whether the bound is from above."""

    what: str
    bound: float
    most: bool
    form: str

    def met(self, spread: Spread) -> bool:
        return spread.middle <= self.bound if self.most else spread.middle >= self.bound

    @property
    def words(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.bound:{self.form}}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal, where it was measured, and what came out."""

    goal: Goal
    where: str
    spread: Spread

    @property
    def met(self) -> bool:
        return self.goal.met(self.spread)

    @property
    def row(self) -> Row:
        said = "yes" if self.met else "**no**"
        return (self.where, self.goal.what, self.goal.words, self.spread.text(self.goal.form), said)


def missed(verdicts: Sequence[Verdict]) -> list[str]:
    """A paragraph that says how many goals were missed; nothing when none was."""
    count = sum(not verdict.met for verdict in verdicts)
    return [f"{count} of {len(verdicts)} goals were missed; the table names them.", ""] if count else []
