"""Pieces of a page that is generated between marks: tables, what the machine is, the marks themselves. Pure,
but for `write`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The lines between which a script writes, and nobody else."""

    script: str

    @property
    def begin(self) -> str:
        return f"<!-- Written by {self.script}; what stands between these marks is lost at its next run. -->"

    @property
    def end(self) -> str:
        return f"<!-- End of what {self.script} writes. -->"

    def write(self, path: Path, lines: Iterable[str]) -> None:
        """Put `lines` between the marks of a page that has them."""
        before, begin, rest = path.read_text(encoding="utf-8").partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"{path} has lost the marks between which the tables stand.")
        text = "\n".join(["", "", *lines, "", ""])
        path.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def table(head: Row, rows: Iterable[Row]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def machine_words(machine: Mapping[str, Any]) -> str:
    """What `machine.describe` found, but for programs and packages."""
    virtual = "virtual " if machine["virtual"] else ""
    return (
        f"{machine['cpu']} ({machine['cpu_model']}; {', '.join(machine['instructions'])}), "
        f"{machine['cores']} {virtual}cores, {machine['memory_gib']:g} GiB, governor {machine['governor']}, "
        f"{machine['system']}, Python {machine['python']}"
    )


def versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in packages.items())


def busy_words(results: Mapping[str, Any]) -> list[str]:
    """A paragraph that warns of figures which other work has spoilt."""
    if not results["busy"]:
        return []
    return ["**The machine was busy with other work: take these figures for nothing.**", ""]
