"""Before serving: which folder, by which engine, and why; converting first where that is the way.

The order: an export that came with the folder and still belongs to its weights; one that was made here
before; a new one. An export that is refused sends the model to the transformers engine, with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from lanza.convert.report import ConversionReport
from lanza.convert.store import Store, copy_files
from lanza.errors import ConversionFailed, ModelError
from lanza.models.choice import choose_engine, installed_modules, why_not_onnx
from lanza.models.facts import ModelFacts, read_facts, with_task
from lanza.models.layout import PROCESSOR_FILES, TOKENIZER_FILES
from lanza.tasks import TEXT_ENCODER_TASKS, find_task

Tell = Callable[[str], None]

COMPANIONS = (
    "config.json",
    "tokenizer.json",
    *TOKENIZER_FILES,
    *PROCESSOR_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A folder that is ready to serve, the engine for it, and why it is that engine."""

    facts: ModelFacts
    engine: str
    why: str
    task: str | None


def prepare(facts: ModelFacts, *, task: str | None, engine: str | None, store: Store, tell: Tell) -> Prepared:
    """Make the folder ready. Raises ModelError and its kind when nothing can serve it."""
    facts = _without_stale_export(_with_task(facts, task), store)
    if engine in (None, "onnx") and (found := _found_export(facts, store)):
        return found
    choice = choose_engine(facts, installed=installed_modules(), wanted=engine)
    if not choice.needs_conversion:
        return Prepared(facts=facts, engine=choice.engine, why=choice.why, task=facts.task)
    try:
        return _converted(facts, store, tell)
    except ConversionFailed as error:
        if engine == "onnx":
            raise
        return Prepared(facts=facts, engine="transformers", why=str(error), task=facts.task)


def _with_task(facts: ModelFacts, task: str | None) -> ModelFacts:
    """The facts with the task that was asked for. UsageError for an unknown one, ModelError for none."""
    if task is not None:
        find_task(task)
        return with_task(facts, task)
    if facts.task is None and not facts.has_handler:
        raise ModelError(
            f"nothing in {facts.path} tells what it is for: name its task with --task, or write a handler.py "
            "with `lanza init handler`. `lanza doctor` says what the folder is."
        )
    return facts


def _without_stale_export(facts: ModelFacts, store: Store) -> ModelFacts:
    """The facts without an ONNX model that its own report says was made from other weights than these."""
    if facts.onnx_path is None or not _has_torch_weights(facts):
        return facts
    beside = ConversionReport.read((facts.path / facts.onnx_path).parent)
    fresh = beside is None or beside.source == store.source(facts)
    return facts if fresh else replace(facts, onnx_path=None)


def _found_export(facts: ModelFacts, store: Store) -> Prepared | None:
    """An export that needs no making: it came with the folder, or was made here before."""
    if facts.has_handler or facts.task not in TEXT_ENCODER_TASKS or why_not_onnx(facts) is not None:
        return None
    if facts.onnx_path is not None:
        beside = ConversionReport.read((facts.path / facts.onnx_path).parent)
        compared = f" that was compared with its weights (within {beside.worst:.0e})" if beside else ""
        return Prepared(
            facts=facts, engine="onnx", why=f"the folder has an ONNX model{compared}", task=facts.task
        )
    if not _has_torch_weights(facts):
        return None
    known = store.find(store.source(facts), facts.task)
    return _as_prepared(facts, *known) if known and known[1].accepted else None


def _has_torch_weights(facts: ModelFacts) -> bool:
    return facts.weights_format in ("safetensors", "pickle")


def _as_prepared(facts: ModelFacts, folder: Path, report: ConversionReport) -> Prepared:
    why = f"converted to ONNX and compared with the original (within {report.worst:.0e})"
    assert facts.task is not None
    converted = with_task(read_facts(folder), facts.task)
    return Prepared(facts=converted, engine="onnx", why=why, task=facts.task)


def _converted(facts: ModelFacts, store: Store, tell: Tell) -> Prepared:
    assert facts.task is not None
    source = store.source(facts)
    folder, report = store.find(source, facts.task) or convert(facts, facts.task, source, store, tell)
    if not report.accepted:
        raise ConversionFailed(report.why)
    return _as_prepared(facts, folder, report)


def export_to(
    facts: ModelFacts, target: Path, *, task: str | None, store: Store, tell: Tell
) -> ConversionReport:
    """Put a model's checked export and its report into `target`. ConversionFailed when there is none."""
    facts = replace(_with_task(facts, task), onnx_path=None)
    choose_engine(facts, installed=installed_modules(), wanted="onnx")
    assert facts.task is not None
    source = store.source(facts)
    folder, report = store.find(source, facts.task) or convert(facts, facts.task, source, store, tell)
    if not report.accepted:
        raise ConversionFailed(report.why)
    copy_files(folder, target, [path.name for path in folder.glob("model.onnx*")])
    report.write(target)
    return report


def convert(
    facts: ModelFacts, task: str, source: str, store: Store, tell: Tell
) -> tuple[Path, ConversionReport]:
    """Run the conversion in a process of its own and keep what came of it. ConversionFailed when it died."""
    aside = store.begin(source, task)
    command = [sys.executable, "-m", "lanza.convert", str(facts.path), str(aside), task, source]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        failure = _follow(process.stdout, tell)
        last_words = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
    report = ConversionReport.read(aside)
    if report is None:
        raise ConversionFailed(
            failure or f"the conversion died ({process.returncode}): {''.join(last_words)}"
        )
    if report.accepted:
        complete(facts, aside)
    return store.commit(aside, source, task), report


def _follow(lines: IO[bytes], tell: Tell) -> str:
    """Pass the steps on; the message of an error, if there was one."""
    failure = ""
    for line in lines:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a library that prints where it should not
        if "step" in event:
            tell(event["step"])
        failure = event.get("error", failure)
    return failure


def complete(facts: ModelFacts, folder: Path) -> None:
    """Put beside the graph what serving needs: config, tokenizer, pooling."""
    copy_files(facts.path, folder, [name for name in dict.fromkeys(COMPANIONS) if facts.has(name)])
