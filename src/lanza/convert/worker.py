"""The work of `python -m lanza.convert`: load, export, compare; by one exporter, else by the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lanza.convert.check import TOLERANCE, compare
from lanza.convert.export import AUTO_CLASSES, EXPORTERS, export, make_graph
from lanza.convert.report import Check, ConversionReport
from lanza.engines.base import EngineOptions
from lanza.errors import ConversionFailed
from lanza.models.facts import ModelFacts
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
    import torch

    tell("loading the original")
    options = EngineOptions(facts=facts, task=find_task(task), why="to be converted")
    model = _load(options, task)
    if facts.tokenizer_file is None:
        _write_tokenizer(options, target)
    graph = make_graph(model, task)
    refusals: list[str] = []
    for exporter in exporters:
        tell(f"exporting with {exporter}")
        checks: list[Check] = []
        try:
            export(graph, target / "model.onnx", exporter)
            tell("comparing with the original")
            compare(graph, target / "model.onnx", limit=facts.max_positions, told=checks.append)
        except ConversionFailed as error:
            refusals.append(f"{error} ({exporter})")
            _remove_graph(target)
            continue
        return ConversionReport(
            source=source,
            task=task,
            exporter=f"torch {torch.__version__.partition('+')[0]} {exporter}",
            checks=tuple(checks),
            tolerance=TOLERANCE,
        )
    return ConversionReport(
        source=source, task=task, exporter="", accepted=False, why="; ".join(refusals), tolerance=TOLERANCE
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
    for path in target.glob("model.onnx*"):
        path.unlink()
