"""`lanza convert`: the checked ONNX form of a model, to look at, keep or ship beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    model: Annotated[Path, typer.Argument(help="The model's folder.")],
    task: Annotated[str | None, typer.Option(help="What it is for; else what the folder says.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to put it; else MODEL/onnx.")
    ] = None,
) -> None:
    """Export a text encoder to ONNX, compare it with the original, put it beside its weights."""
    from lanza.cli.serve import progress
    from lanza.convert.preparation import export_to
    from lanza.convert.store import Store
    from lanza.models.facts import read_facts
    from lanza.settings import Settings

    facts = read_facts(model)
    target = output or model / "onnx"
    with progress() as tell:
        report = export_to(facts, target, task=task, store=Store(Settings.read().converted), tell=tell)
    print(f"{target / 'model.onnx'} agrees with the original within {report.worst:.1e}:")
    for check in report.checks:
        texts = f"{check.batch} × {check.tokens} tokens"
        if check.alone is not None:
            texts = f"{check.alone} tokens, by themselves and beside {check.tokens}"
        print(f"  {texts}: {check.difference:.1e}")
