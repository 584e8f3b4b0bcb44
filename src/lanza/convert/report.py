"""What is written beside an export: what it was made from, by what, and how far it was off.

`lanza.json` makes an export trustworthy later: the hash tells whether the weights beside it are still those
it was made from.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

from lanza.convert.heads import AUTO_CLASSES

FORMAT: Final = 2
"""Raised when exports made before are to be made again."""

NAME: Final = "lanza.json"

_MAKERS: Final = ("torch", "transformers")
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_LONGEST: Final = 300


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: so many texts of so many tokens, and the largest difference from the original.

    `alone` is set where a text of so many tokens, padded beside one of `tokens`, was compared with the same
    text by itself.
    """

    batch: int
    tokens: int
    difference: float
    alone: int | None = None


class ConversionReport(msgspec.Struct, frozen=True, kw_only=True):
    """`source` is the content hash of the model folder; `accepted` says whether all checks passed.

    `exporter` is empty where nothing was exported: a refusal, or a graph from elsewhere that was compared.
    `why` is the reason for a refusal, `makers` the libraries that it depends on: others may do better.
    """

    source: str
    task: str
    exporter: str
    makers: str = ""
    checks: tuple[Check, ...] = ()
    tolerance: float = 1e-3
    accepted: bool = True
    why: str = ""
    format: int = FORMAT

    @property
    def worst(self) -> float:
        return max((check.difference for check in self.checks), default=0.0)

    def serves(self, task: str | None) -> bool:
        """Whether what was compared is the graph that `task` needs."""
        head = AUTO_CLASSES.get(self.task)
        return self.accepted and head is not None and head == AUTO_CLASSES.get(task or "")

    def write(self, folder: Path) -> None:
        (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def read(cls, folder: Path) -> ConversionReport | None:
        """The report in `folder`, None when there is none that this version understands."""
        try:
            report = msgspec.json.decode((folder / NAME).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None
        return report if report.format == FORMAT else None


def makers() -> str:
    """The installed libraries that conversions depend on, with their versions; nothing is imported."""
    found = []
    for name in _MAKERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def one_line(text: object, most: int = _LONGEST) -> str:
    """The first line that says something, without colours and control characters, at most `most` long."""
    plain = _ESCAPE.sub("", str(text))
    lines = ("".join(sign for sign in line if sign.isprintable()).strip() for line in plain.splitlines())
    line = next(filter(None, lines), "")
    return line if len(line) <= most else f"{line[: most - 1]}…"
