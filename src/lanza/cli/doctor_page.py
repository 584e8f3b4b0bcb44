"""How `lanza doctor` looks: a few aligned facts, the files when they are few, and the findings.

Everything is shown as plain text, never as markup: names in a folder are anybody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lanza.models.doctor import Report
from lanza.models.facts import FolderKind, ModelFacts
from lanza.models.figures import amount, size
from lanza.models.findings import Finding, Level
from lanza.models.report import rank_of, readable, target_modules_of

MOST_FILES_SHOWN: Final = 12
MOST_FINDINGS_SHOWN: Final = 20
_STYLES: Final = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "dim"}
_VERDICTS: Final = ("Servable", "Servable, with warnings", "Not servable")
_VERDICT_STYLES: Final = ("bold green", "bold yellow", "bold red")
_KINDS: Final = {
    FolderKind.TRANSFORMERS: "a Hugging Face model",
    FolderKind.ADAPTER: "an adapter",
    FolderKind.ONNX: "an ONNX model",
    FolderKind.HANDLER: "a custom handler",
    FolderKind.UNKNOWN: "unknown",
}


def page(report: Report) -> RenderableType:
    """All of it, from the path to the verdict."""
    parts: list[RenderableType] = [Text(readable(str(report.path)), style="bold"), Text()]
    if report.facts is not None:
        parts += [_facts(report, report.facts), Text()]
        if report.facts.files:
            parts += [_files(report.facts), Text()]
    if report.findings:
        parts += [_findings(report.findings), Text()]
    parts.append(Text(f"{_VERDICTS[report.exit_code]}.", style=_VERDICT_STYLES[report.exit_code]))
    return Group(*parts)


def _facts(report: Report, facts: ModelFacts) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(report, facts):
        table.add_row(name, Text(readable(value)))
    return table


def _lines(report: Report, facts: ModelFacts) -> Iterator[tuple[str, str]]:
    yield "kind", _KINDS[facts.kind]
    if facts.task:
        yield "task", f"{facts.task}  (from {facts.task_source})"
    if facts.architecture:
        yield "architecture", facts.architecture
    if facts.parameters is not None:
        dtypes = ", ".join(f"{amount(count)} {dtype}" for dtype, count in facts.dtypes.items())
        yield "parameters", f"{amount(facts.parameters)}  ({dtypes})"
    if facts.weights:
        yield "weights", f"{facts.weights_format}, {size(facts.weights_bytes)}"
    if facts.adapter:
        yield from _adapter_lines(facts)
    if facts.kind is not FolderKind.UNKNOWN:
        yield "tokenizer", _tokenizer(report, facts)
    if facts.has_processor:
        yield "processor", "yes"
    if facts.max_positions is not None:
        yield "positions", f"{facts.max_positions:,} tokens"
    if report.choice is not None:
        yield "engine", f"{report.choice.engine}: {report.choice.why}"
    if report.needs and report.machine is not None:
        yield "memory", _memory(report)


def _adapter_lines(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    rank = rank_of(facts)
    targets = ", ".join(target_modules_of(facts))
    kind = str(facts.adapter.get("peft_type") or "unknown type")
    yield "adapter", kind + (f", rank {rank}" if rank else "") + (f", on {targets}" if targets else "")
    if facts.base_path is None:
        yield "base", f"{facts.base_model or 'none is named'}, not on this machine"
    else:
        is_folder = facts.base_model == str(facts.base_path)
        yield "base", str(facts.base_path) if is_folder else f"{facts.base_model} in {facts.base_path}"


def _tokenizer(report: Report, facts: ModelFacts) -> str:
    if report.vocabulary is not None:
        return f"{report.vocabulary.tokens:,} tokens"
    return "yes" if facts.has_tokenizer else "none"


def _memory(report: Report) -> str:
    assert report.machine is not None
    free = report.machine.available
    if len({size(need.total) for need in report.needs}) == 1 < len(report.needs):
        return f"about {size(report.needs[0].total)} at any precision; {size(free)} free"
    needs = ", ".join(
        f"{size(need.total)} {'' if need.precision == 'as stored' else 'at '}{need.precision}"
        + ("" if need.total <= free else " (too much)")
        for need in report.needs
    )
    return f"about {needs}; {size(free)} free"


def _files(facts: ModelFacts) -> RenderableType:
    if len(facts.files) > MOST_FILES_SHOWN:
        total = sum(file.size for file in facts.files)
        return Text(f"{len(facts.files):,} files, {size(total)}", style="dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for file in facts.files:
        table.add_row(size(file.size), Text(readable(file.path)))
    return table


def _findings(findings: tuple[Finding, ...]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings[:MOST_FINDINGS_SHOWN]:
        table.add_row(
            Text(finding.level.value, style=_STYLES[finding.level]), Text(readable(finding.message))
        )
        table.add_row("", Text(readable(finding.next_step), style="dim"))
    if (more := len(findings) - MOST_FINDINGS_SHOWN) > 0:
        table.add_row("", Text(f"and {more} more: lanza doctor --json", style="dim"))
    return table
