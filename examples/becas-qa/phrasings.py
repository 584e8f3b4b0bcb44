"""The phrasings and values that ``data/*.toml`` holds, by split."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from marks import kinds_of

DATA = Path(__file__).parent / "data"

Split = Literal["train", "heldout"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A phrasing and the kinds of fact that it states."""

    text: str
    held_out: bool
    kinds: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Phrasings:
    """Everything in ``data/*.toml``, by split."""

    statements: dict[Split, tuple[Statement, ...]]
    sheets: dict[Split, tuple[Statement, ...]]
    fillers: dict[Split, tuple[str, ...]]
    questions: dict[Split, dict[str, list[str]]]
    values: dict[str, list[str]]

    @classmethod
    def load(cls, folder: Path = DATA) -> Phrasings:
        tables: dict[str, dict[str, Any]] = {
            name: tomllib.loads((folder / f"{name}.toml").read_text("utf-8"))
            for name in ("statements", "questions", "values")
        }
        told = tables["statements"]
        return cls(
            statements={"train": statements(told["train"]), "heldout": statements(told["heldout"], new=True)},
            sheets={
                "train": statements(told["sheet_train"]),
                "heldout": statements(told["sheet_heldout"], new=True),
            },
            fillers={"train": tuple(told["filler_train"]), "heldout": tuple(told["filler_heldout"])},
            questions={"train": tables["questions"]["train"], "heldout": tables["questions"]["heldout"]},
            values=tables["values"],
        )

    @property
    def kinds(self) -> list[str]:
        return sorted(self.questions["train"])


def statements(texts: list[str], *, new: bool = False) -> tuple[Statement, ...]:
    """Raises ValueError if one of them states nothing: that is a filler."""
    made = tuple(Statement(text=text, held_out=new, kinds=frozenset(kinds_of(text))) for text in texts)
    for statement in made:
        if not statement.kinds:
            raise ValueError(f"{statement.text!r} marks no fact: move it to the fillers")
    return made
