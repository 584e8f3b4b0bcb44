"""The work of `python -m lanza.convert`: load, export, compare; by one exporter, else by the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lanza.convert.check import TOLERANCE, compare, require_undisturbed
from lanza.convert.export import EXPORTERS, Graph, export, make_graph
from lanza.convert.heads import AUTO_CLASSES
from lanza.convert.report import Check, ConversionReport, makers, one_line
from lanza.convert.store import GRAPH
from lanza.engines.base import EngineOptions
from lanza.errors import ConversionFailed
from lanza.models.facts import ModelFacts
from lanza.models.text import reads_token_types
from lanza.tasks import find_task

Tell = Callable[[str], None]


def convert(
    facts: ModelFacts,
    task: str,
    target: Path,
    *,
    source: str,
    tell: Tell,
    exporters: Sequence[str] = tuple(EXPORTERS),
) -> ConversionReport:
    """Write `target/model.onnx`; a refusal is a report too, without a graph. Exporters are tried in order."""
    tell("loading the original")
    options = EngineOptions(facts=facts, task=find_task(task), why="to be converted")
    graph = make_graph(_load(options, task), task)
    try:
        require_undisturbed(graph, limit=facts.max_positions)
    except ConversionFailed as error:
        return _refused(source, task, [str(error)])
    if facts.tokenizer_file is None:
        _write_tokenizer(options, target)
    refusals: list[str] = []
    for exporter in exporters:
        tell(f"exporting with {exporter}")
        checks: list[Check] = []
        try:
            export(graph, target / GRAPH, exporter)
            tell("comparing with the original")
            compare(graph, target / GRAPH, limit=facts.max_positions, told=checks.append)
        except ConversionFailed as error:
            refusals.append(f"{one_line(error, 130)} ({exporter})")
            _remove_graph(target)
            continue
        return _accepted(source, task, checks, exporter)
    return _refused(source, task, refusals)


def verify(facts: ModelFacts, task: str, path: Path, *, source: str, tell: Tell) -> ConversionReport:
    """Compare the graph at `path`, made elsewhere, with the weights of the folder; nothing is written."""
    tell(f"comparing {path.name} with the weights beside it")
    options = EngineOptions(facts=facts, task=find_task(task), why="to be compared")
    graph: Graph = make_graph(_load(options, task), task, token_types=reads_token_types(facts))
    checks: list[Check] = []
    try:
        require_undisturbed(graph, limit=facts.max_positions)
        compare(graph, path, limit=facts.max_positions, told=checks.append)
    except ConversionFailed as error:
        return _refused(source, task, [str(error)])
    return _accepted(source, task, checks, exporter="")


def _accepted(source: str, task: str, checks: Sequence[Check], exporter: str) -> ConversionReport:
    return ConversionReport(
        source=source,
        task=task,
        exporter=exporter,
        makers=makers(),
        checks=tuple(checks),
        tolerance=TOLERANCE,
    )


def _refused(source: str, task: str, refusals: Sequence[str]) -> ConversionReport:
    return ConversionReport(
        source=source,
        task=task,
        exporter="",
        makers=makers(),
        accepted=False,
        why=one_line("; ".join(refusals)),
        tolerance=TOLERANCE,
    )


def _load(options: EngineOptions, task: str) -> Any:
    import torch

    from lanza.engines.transformers.loading import load_model

    unused = ("pooler",) if task in ("feature-extraction", "sentence-similarity") else ()
    model = load_model(options, AUTO_CLASSES[task], unused=unused)
    return model.to(device="cpu", dtype=torch.float32)


def _write_tokenizer(options: EngineOptions, target: Path) -> None:
    """Make the tokenizer.json that the folder lacks, as transformers does when it loads the old files."""
    from lanza.engines.transformers.loading import load_tokenizer

    load_tokenizer(options).save_pretrained(target)
    if not (target / "tokenizer.json").is_file():
        raise ConversionFailed("its tokenizer has no tokenizer.json form")


def _remove_graph(target: Path) -> None:
    for path in target.glob(f"{GRAPH}*"):
        path.unlink()
