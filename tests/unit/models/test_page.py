"""The page of `lanza doctor`, without the command line around it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lanza.cli import doctor_page as page
from lanza.models.choice import OPTIONAL_MODULES
from lanza.models.doctor import examine
from lanza.models.memory import Machine

from .conftest import BERT, WriteFolder, weights


def printed(path: Path) -> str:
    report = examine(path, installed=OPTIONAL_MODULES, machine=Machine(total=2**34, available=2**33))
    console = Console(file=io.StringIO(), width=100)
    console.print(page.page(report))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (256_400_000, "256 MB"), (2**40, "1.1 TB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert page.size(count) == text


@pytest.mark.parametrize(("count", "text"), [(312, "312"), (22_713_216, "22.7 M"), (7_600_000_000, "7.6 B")])
def test_amounts_for_people(count: int, text: str) -> None:
    assert page.amount(count) == text


def test_files_are_listed_when_they_are_few(folder: WriteFolder) -> None:
    files = {"config.json": BERT, "model.safetensors": weights()}
    assert "model.safetensors" in printed(folder(files))
    many = files | {f"extra-{number}.txt": "x" for number in range(20)}
    text = printed(folder(many))
    assert "22 files" in text
    assert "extra-3.txt" not in text


def test_a_hundred_findings_are_cut_short(folder: WriteFolder) -> None:
    text = printed(folder({f"bad-{number}.json": "{" for number in range(100)}))
    assert text.count("not valid JSON") == 19  # after the first, that it is no model
    assert "81 more" in text
