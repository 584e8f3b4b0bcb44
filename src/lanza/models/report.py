"""A report as plain values, for programs: the keys are stable, sizes in bytes, unknown is null."""

from __future__ import annotations

from typing import Any

from lanza.models.doctor import Report
from lanza.models.facts import ModelFacts
from lanza.models.findings import Finding


def as_dict(report: Report) -> dict[str, Any]:
    """The whole report; every key is there whatever the folder holds."""
    choice, machine = report.choice, report.machine
    return {
        "path": readable(str(report.path)),
        "servable": report.is_servable,
        "exit_code": report.exit_code,
        **_of_facts(report),
        "engine": choice
        and {"name": choice.engine, "why": choice.why, "needs_conversion": choice.needs_conversion},
        "memory": machine
        and {
            "total_bytes": machine.total,
            "available_bytes": machine.available,
            "needs": [
                {
                    "precision": need.precision,
                    "stored": need.is_stored,
                    "weights_bytes": need.weights,
                    "total_bytes": need.total,
                    "fits": need.total <= machine.available,
                }
                for need in report.needs
            ],
        },
        "findings": [_of_finding(finding) for finding in report.findings],
    }


def readable(text: str) -> str:
    """Text that any terminal and any JSON reader takes: without control characters and lone surrogates."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "�" for letter in clean)


def _of_facts(report: Report) -> dict[str, Any]:
    facts = report.facts
    if facts is None:
        return dict.fromkeys(
            (
                "kind",
                "task",
                "task_source",
                "architecture",
                "model_type",
                "parameters",
                "dtypes",
                "max_positions",
                "weights",
                "tokenizer",
                "has_processor",
                "adapter",
                "files",
            )
        )
    return {
        "kind": facts.kind.value,
        "task": facts.task,
        "task_source": facts.task_source or None,
        "architecture": facts.architecture and readable(facts.architecture),
        "model_type": facts.model_type and readable(facts.model_type),
        "parameters": facts.parameters,
        "dtypes": dict(facts.dtypes),
        "max_positions": facts.max_positions,
        "weights": {
            "format": facts.weights_format,
            "files": [readable(name) for name in facts.weights],
            "bytes": facts.weights_bytes,
        },
        "tokenizer": _of_tokenizer(report, facts),
        "has_processor": facts.has_processor,
        "adapter": _of_adapter(facts),
        "files": [{"path": readable(file.path), "size": file.size} for file in facts.files],
    }


def _of_tokenizer(report: Report, facts: ModelFacts) -> dict[str, Any]:
    vocabulary = report.vocabulary
    return {
        "present": facts.has_tokenizer,
        "file": facts.tokenizer_file,
        "tokens": vocabulary and vocabulary.tokens,
        "highest_id": vocabulary and vocabulary.highest_id,
        "max_length": facts.tokenizer_max_length,
    }


def _of_adapter(facts: ModelFacts) -> dict[str, Any] | None:
    if not facts.adapter:
        return None
    return {
        "type": _text(facts.adapter.get("peft_type")),
        "task_type": _text(facts.adapter.get("task_type")),
        "rank": rank_of(facts),
        "target_modules": target_modules_of(facts),
        "base": facts.base_model and readable(facts.base_model),
        "base_path": readable(str(facts.base_path)) if facts.base_path else None,
    }


def rank_of(facts: ModelFacts) -> int | None:
    """A LoRA adapter's rank."""
    rank = facts.adapter.get("r")
    return rank if isinstance(rank, int) else None


def target_modules_of(facts: ModelFacts) -> list[str]:
    """The modules that an adapter changes: their names, or the one pattern that they match."""
    targets = facts.adapter.get("target_modules")
    if isinstance(targets, str):
        return [readable(targets)]
    return sorted(readable(str(target)) for target in targets) if isinstance(targets, list) else []


def _text(value: object) -> str | None:
    return readable(value) if isinstance(value, str) else None


def _of_finding(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "code": finding.code,
        "message": readable(finding.message),
        "path": finding.path and readable(finding.path),
        "next_step": readable(finding.next_step),
    }
