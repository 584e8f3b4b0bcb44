"""Before serving: which folder, by which engine, and why; converting first where that is the way.

The order: an export that came with the folder and still belongs to its weights; one that was made here
before; a new one. An export that is refused sends the model to the transformers engine, with the reason.
An export made here stays where it is kept: it is served with everything else from the model's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from lanza.convert import child
from lanza.convert.report import NAME, ConversionReport
from lanza.convert.store import GRAPH, Store, place
from lanza.errors import ConversionFailed, ModelError, UsageError
from lanza.models.choice import TRANSFORMERS_MODULES, choose_engine, installed_modules, why_not_onnx
from lanza.models.facts import ModelFacts, read_facts, with_task
from lanza.tasks import TEXT_ENCODER_TASKS, find_task

Tell = child.Tell

CUSTOM: Final = "custom"
"""What Hugging Face's clients call the task of a handler.py."""
_EXTERNAL: Final = ("", "_data", ".data")
"""How the files of one graph are named after it: weights may lie beside it."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A folder that is ready to serve, the engine for it, and why it is that engine.

    `graph` is the ONNX model where that is not in the folder.
    """

    facts: ModelFacts
    engine: str
    why: str
    task: str | None
    graph: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """Whether the ONNX model that came with a folder is served, and why or why not."""

    accepted: bool
    why: str


def prepare(facts: ModelFacts, *, task: str | None, engine: str | None, store: Store, tell: Tell) -> Prepared:
    """Make the folder ready. Raises ModelError and its kind when nothing can serve it."""
    facts = _with_task(facts, task)
    passed_over = ""
    if _may_be_onnx(facts, engine):
        if facts.onnx_path is not None:
            verdict = _judge(facts, facts.onnx_path, store, tell)
            if verdict.accepted:
                return Prepared(facts=facts, engine="onnx", why=verdict.why, task=facts.task)
            passed_over = f"; {facts.onnx_path} is not used: {verdict.why}"
            tell(f"{facts.onnx_path} is not used: {verdict.why}")
            facts = replace(facts, onnx_path=None)
        if known := _made_before(facts, store):
            return replace(known, why=known.why + passed_over)
    choice = choose_engine(facts, installed=installed_modules(), wanted=engine)
    if not choice.needs_conversion:
        return Prepared(facts=facts, engine=choice.engine, why=choice.why + passed_over, task=facts.task)
    try:
        found = _as_prepared(facts, *_made(facts, store, tell))
    except ConversionFailed as error:
        if engine == "onnx":
            raise
        found = Prepared(facts=facts, engine="transformers", why=str(error), task=facts.task)
    return replace(found, why=found.why + passed_over)


def _with_task(facts: ModelFacts, task: str | None) -> ModelFacts:
    """The facts with the task that was asked for. UsageError for an unknown one, ModelError for none."""
    if task is not None and task != CUSTOM:
        find_task(task)
        return with_task(facts, task)
    if task == CUSTOM and not facts.has_handler:
        raise ModelError(
            "the task `custom` is what a handler.py does, and there is none: `lanza init handler` writes one."
        )
    if facts.task is None and not facts.has_handler:
        raise ModelError(
            f"nothing in {facts.path} tells what it is for: name its task with --task, or write a handler.py "
            "with `lanza init handler`. `lanza doctor` says what the folder is."
        )
    return facts


def _may_be_onnx(facts: ModelFacts, engine: str | None) -> bool:
    """Whether an ONNX model is looked for at all."""
    wanted = engine == "onnx" or (engine is None and not facts.has_handler)
    return wanted and facts.task in TEXT_ENCODER_TASKS and why_not_onnx(facts) is None


def _judge(facts: ModelFacts, onnx_path: str, store: Store, tell: Tell) -> _Verdict:
    """Whether the folder's own ONNX model is to be trusted, as the weights beside it tell."""
    if facts.weights_format not in ("safetensors", "pickle"):
        return _Verdict(accepted=True, why="the folder has an ONNX model")
    try:
        beside = ConversionReport.read((facts.path / onnx_path).parent)
        if beside is not None:
            return _by_report(facts, beside, store)
        if "quantized" in onnx_path:  # meant to differ
            return _uncompared("it is quantized")
        if not installed_modules() >= TRANSFORMERS_MODULES:
            return _uncompared("torch is not installed")
        report = _compared(facts, onnx_path, store, tell)
    except ConversionFailed as error:
        return _Verdict(accepted=False, why=str(error))
    return _agrees(report) if report.accepted else _Verdict(accepted=False, why=report.why)


def _by_report(facts: ModelFacts, beside: ConversionReport, store: Store) -> _Verdict:
    if not beside.serves(facts.task):
        return _Verdict(accepted=False, why=f"it was made for {beside.task}, not {facts.task}")
    if beside.source != store.source(facts):
        return _Verdict(accepted=False, why="it was made from other weights than these")
    return _agrees(beside)


def _agrees(report: ConversionReport) -> _Verdict:
    compared = f"that was compared with its weights (within {report.worst:.0e})"
    return _Verdict(accepted=True, why=f"the folder has an ONNX model {compared}")


def _uncompared(reason: str) -> _Verdict:
    why = f"the folder has an ONNX model, not compared with the weights beside it, as {reason}"
    return _Verdict(accepted=True, why=why)


def _compared(facts: ModelFacts, onnx_path: str, store: Store, tell: Tell) -> ConversionReport:
    """What came of comparing the folder's own ONNX model with its weights, now or at an earlier start."""
    assert facts.task is not None
    graph = facts.path / onnx_path
    parts = [(f"{onnx_path}{end}", graph.with_name(f"{graph.name}{end}")) for end in _EXTERNAL]
    tokenizer = [(name, facts.path / name) for name in ("tokenizer_config.json",) if facts.has(name)]
    files = [(name, path) for name, path in parts if path.is_file()] + tokenizer
    key = f"{store.source(facts)} {store.hash(files)}"
    known = store.find(key, facts.task) or child.run(facts, facts.task, key, store, tell, graph=graph)
    return known[1]


def _made_before(facts: ModelFacts, store: Store) -> Prepared | None:
    """The export that was made of this model and task before; None also when that cannot be told."""
    if facts.weights_format not in ("safetensors", "pickle"):
        return None
    assert facts.task is not None
    try:
        known = store.find(store.source(facts), facts.task)
    except ConversionFailed:
        return None
    return _as_prepared(facts, *known) if known and known[1].accepted else None


def _made(facts: ModelFacts, store: Store, tell: Tell) -> tuple[Path, ConversionReport]:
    """An accepted export, made now or before. ConversionFailed with the reason when there is none."""
    assert facts.task is not None
    source = store.source(facts)
    found = store.find(source, facts.task) or child.run(facts, facts.task, source, store, tell)
    if not found[1].accepted:
        raise ConversionFailed(found[1].why)
    return found


def _as_prepared(facts: ModelFacts, folder: Path, report: ConversionReport) -> Prepared:
    why = f"converted to ONNX and compared with the original (within {report.worst:.0e})"
    return Prepared(facts=facts, engine="onnx", why=why, task=facts.task, graph=(folder / GRAPH).absolute())


def export_to(
    facts: ModelFacts, target: Path, *, task: str | None, store: Store, tell: Tell
) -> ConversionReport:
    """Put a model's checked export and its report into `target`. ConversionFailed when there is none."""
    facts = replace(_with_task(facts, task), onnx_path=None)
    choose_engine(facts, installed=installed_modules(), wanted="onnx")
    folder, report = _made(facts, store, tell)
    inside = target.resolve() == facts.path.resolve()
    keep = frozenset(file.path for file in facts.files if inside and not file.path.startswith(GRAPH))
    try:
        target.mkdir(parents=True, exist_ok=True)
        # Without its report an export is compared again: half a replacement is never believed.
        (target / NAME).unlink(missing_ok=True)
        place(folder, target, keep=keep | {NAME})
        if inside:  # a tokenizer.json may have come to the folder: it is another source now
            report = msgspec.structs.replace(report, source=store.source(read_facts(target)))
        report.write(target)
    except OSError as error:
        reason = f"{target} cannot be written ({error.strerror})"
        raise UsageError(f"{reason}: name another folder with --output.") from error
    return report
