"""What a report says of itself, and the one line that is kept of an exporter's story."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanza.convert.report import ConversionReport, makers, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n  \x1b[31;1mno\x1b[0m way\t\nmore", "no way"),
        ("\x1b]0;title\x07it\x00 is\x1b(", "it is"),
        ("\x1b[96mFailed\x1b[0m: ü 漢", "Failed: ü 漢"),
        ("", ""),
        (" \n\t\n", ""),
    ],
)
def test_one_printable_line_is_kept(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_line_is_cut() -> None:
    assert len(one_line("a" * 1000)) == 300
    assert one_line("a" * 1000).endswith("…")
    assert one_line("a" * 300) == "a" * 300


def test_a_report_serves_tasks_of_the_same_head() -> None:
    report = ConversionReport(source="s", task="text-classification", exporter="e")
    assert report.serves("text-classification")
    assert report.serves("zero-shot-classification")
    assert not report.serves("token-classification")
    assert not report.serves(None)
    assert not ConversionReport(source="s", task="fill-mask", exporter="e", accepted=False).serves(
        "fill-mask"
    )


def test_a_report_of_another_format_or_damaged_is_none(tmp_path: Path) -> None:
    assert ConversionReport.read(tmp_path) is None
    ConversionReport(source="s", task="fill-mask", exporter="e").write(tmp_path)
    assert ConversionReport.read(tmp_path) is not None
    ConversionReport(source="s", task="fill-mask", exporter="e", format=1).write(tmp_path)
    assert ConversionReport.read(tmp_path) is None
    (tmp_path / "lanza.json").write_text("{")
    assert ConversionReport.read(tmp_path) is None


def test_the_makers_are_named_with_their_versions() -> None:
    assert makers().startswith("torch ")
    assert ", transformers " in makers()
