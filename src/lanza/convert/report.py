"""What is written beside an export: what it was made from, by what, and how far it was off.

`lanza.json` makes an export trustworthy later: the hash tells whether the weights beside it are still those
it was made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

FORMAT: Final = 1
"""Raised when exports made before are to be made again."""

NAME: Final = "lanza.json"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: so many texts of so many tokens, and the largest difference from the original."""

    batch: int
    tokens: int
    difference: float


class ConversionReport(msgspec.Struct, frozen=True, kw_only=True):
    """`source` is the content hash of the model folder; `accepted` says whether all checks passed.

    `why` is the reason for a refusal.
    """

    source: str
    task: str
    exporter: str
    checks: tuple[Check, ...] = ()
    tolerance: float = 1e-3
    accepted: bool = True
    why: str = ""
    format: int = FORMAT

    @property
    def worst(self) -> float:
        return max((check.difference for check in self.checks), default=0.0)

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
