"""The pages that are made of the code are up to date, and no page points to a file that is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(folder / "generate.py"), "--check"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_generated_pages_are_those_of_the_code() -> None:
    result = check(ROOT / "docs")
    assert result.returncode == 0, result.stdout + result.stderr


def test_stale_pages_are_noticed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    names = ("cli.md", "errors.md", "hub-api.md", "tasks.md")
    for name in names:
        page = tmp_path / "docs" / "reference" / name
        page.write_text(page.read_text(encoding="utf-8").replace("|", "/", 1), encoding="utf-8")
    result = check(tmp_path / "docs")
    assert result.returncode == 1, result.stderr
    for name in names:
        assert name in result.stdout


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [first or second for first, second in LINK.findall(text)]
    local = [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]
    broken = [target for target in local if not _exists(page, target)]
    assert not broken


def _exists(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or anchor in _anchors(file.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    """The names that headings get on code hosting sites."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
