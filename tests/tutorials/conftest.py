"""Runs the tutorials' code, kept in `code/` as it stands there.

A deviation is a replacement of one exact string by another, listed in `docs/tutorials/deviations.md`; a test
fails when a string to be replaced is no longer in the code, or a replacement is not on that page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "tutorials" / "deviations.md"

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def run_tutorial() -> Run:
    """Run a tutorial's code with its deviations; gives the names that it leaves."""

    def run(name: str, deviations: Mapping[str, str], **given: Any) -> dict[str, Any]:
        code = (HERE / "code" / name).read_text(encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        for original, replacement in deviations.items():
            assert original in code, f"{name} no longer has {original}"
            assert original in page, f"{PAGE.name} does not list the deviation {original}"
            code = code.replace(original, replacement)
        names: dict[str, Any] = dict(given)
        exec(compile(code, name, "exec"), names)
        return names

    return run
