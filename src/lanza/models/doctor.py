"""The doctor: everything that can be said of a model folder without running it, and a verdict.

The model held here: independent checks, each a generator of findings, over the same facts. A folder too
broken to have facts is still looked at file by file. The verdict is the worst level found: a note never
changes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lanza.errors import ModelError, UnsafeModel
from lanza.models.choice import EngineChoice, Refusal, decide, installed_modules
from lanza.models.documents import read_json_or_empty
from lanza.models.facts import ModelFacts, read_facts
from lanza.models.files import list_files, require_folder
from lanza.models.findings import Finding, Level, error, note, warning
from lanza.models.handlers import examine_handler
from lanza.models.integrity import examine_files, lfs_pointers
from lanza.models.layout import PROCESSOR_FILES
from lanza.models.memory import Machine, Need, needs, stored_need, this_machine
from lanza.models.pickles import examine_pickles
from lanza.models.remedies import suggest
from lanza.models.tokenizer import Vocabulary, examine_embedding, examine_tokenizer, read_vocabulary

_WITH_CODE: Final = ("config.json", "tokenizer_config.json", *PROCESSOR_FILES)
_ORDER: Final = {Level.ERROR: 0, Level.WARNING: 1, Level.NOTE: 2}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found. ``facts`` is None where the folder cannot be understood, ``choice`` where no engine
    takes it; ``needs`` are in bytes."""

    path: Path
    facts: ModelFacts | None = None
    base: ModelFacts | None = None
    choice: EngineChoice | None = None
    vocabulary: Vocabulary | None = None
    machine: Machine | None = None
    needs: tuple[Need, ...] = field(default=())
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 servable, 1 servable with warnings, 2 not."""
        levels = {finding.level for finding in self.findings}
        return 2 if Level.ERROR in levels else 1 if Level.WARNING in levels else 0

    @property
    def is_servable(self) -> bool:
        return self.exit_code < 2


def examine(
    path: Path,
    *,
    deep: bool = True,
    installed: frozenset[str] | None = None,
    cache: Path | None = None,
    machine: Machine | None = None,
) -> Report:
    """Examine the folder ``path``. Not ``deep``: without scanning pickles and loading the tokenizer.

    ``installed``, ``cache`` (the Hub's) and ``machine`` are those of this process unless given.
    """
    try:
        require_folder(path)
    except ModelError as problem:
        reason, _, next_step = problem.message.rpartition(": ")
        return Report(path=path, findings=(error("no_folder", f"{reason}.", _sentence(next_step)),))
    try:
        facts = read_facts(path, cache=cache)
    except ModelError as problem:
        return _examine_without_facts(path, problem, deep=deep)
    pointers = frozenset(lfs_pointers(path, facts.files))
    base, base_findings = _read_base(facts, cache, deep=deep)
    vocabulary = _vocabulary(facts, base) if deep and facts.tokenizer_file not in pointers else None
    outcome = decide(facts, installed=installed_modules() if installed is None else installed)
    choice = outcome if isinstance(outcome, EngineChoice) else None
    machine = machine or this_machine()
    needed = needs(facts, base, choice.engine if choice else None)
    suggestions = tuple(suggest(facts))
    pickles = (file for file in facts.files if deep and file.path not in pointers)
    findings = [
        *(suggestions or _of_refusal(outcome)),
        *base_findings,
        *examine_files(path, facts.files),
        *examine_pickles(path, pickles, facts.weights),
        *examine_tokenizer(facts, base, vocabulary),
        *examine_embedding(facts),
        *_examine_config(facts),
        *examine_handler(facts),
        *_examine_memory(needed, machine),
    ]
    return Report(
        path=path,
        facts=facts,
        base=base,
        choice=choice,
        vocabulary=vocabulary if isinstance(vocabulary, Vocabulary) else None,
        machine=machine,
        needs=needed,
        findings=_in_order(findings),
    )


def _examine_without_facts(path: Path, problem: ModelError, *, deep: bool) -> Report:
    files = list_files(path)
    pointers = frozenset(lfs_pointers(path, files))
    pickles = (file for file in files if deep and file.path not in pointers)
    findings = [*examine_files(path, files), *examine_pickles(path, pickles, ())]
    if not any(finding.level is Level.ERROR for finding in findings):
        findings.append(_of_error(problem, "bad_config", "Save the model again with save_pretrained."))
    return Report(path=path, findings=_in_order(findings))


def _read_base(
    facts: ModelFacts, cache: Path | None, *, deep: bool
) -> tuple[ModelFacts | None, list[Finding]]:
    """The facts of an adapter's base, and what is wrong with it."""
    if not facts.is_adapter or facts.base_path is None:
        return None, []
    try:
        base = read_facts(facts.base_path, cache=cache)
    except ModelError as problem:
        return None, [_of_error(problem, "broken_base", f"Repair the base model in {facts.base_path}.")]
    pickles = examine_pickles(base.path, base.files if deep else (), base.weights)
    findings = [
        error(
            "broken_base",
            f"The base model: {finding.message}",
            finding.next_step,
            path=str(facts.base_path),
        )
        for finding in (*examine_files(base.path, base.files), *pickles)
        if finding.level is Level.ERROR
    ]
    if not base.weights:
        findings.append(
            error(
                "base_without_weights",
                f"The base model in {facts.base_path} holds no weights.",
                "Download all of it.",
                path=str(facts.base_path),
            )
        )
    return base, findings


def _vocabulary(facts: ModelFacts, base: ModelFacts | None) -> Vocabulary | str | None:
    for part in (facts, base):
        if part is not None and part.tokenizer_file is not None:
            return read_vocabulary(part.path / part.tokenizer_file)
    return None


def _examine_config(facts: ModelFacts) -> Iterator[Finding]:
    for name in _WITH_CODE:
        if read_json_or_empty(facts.path / name).get("auto_map"):
            yield warning(
                "custom_code",
                f"{name} has an auto_map: it names Python code that comes with the model. It is not run, "
                "as trust_remote_code is never on by itself.",
                "Nothing to do where transformers has the class itself; else wrap the model in a handler.py.",
                path=name,
            )
    if facts.card_task and facts.possible_tasks and facts.card_task not in facts.possible_tasks:
        yield note(
            "card_disagrees",
            f"The card says {facts.card_task}, which {facts.architecture or 'this adapter'} cannot do: "
            f"it is taken for {facts.task}.",
            "Correct pipeline_tag in README.md.",
            path="README.md",
        )


def _examine_memory(needed: tuple[Need, ...], machine: Machine) -> Iterator[Finding]:
    need = stored_need(needed)
    if need is None or need.total <= machine.available:
        return
    smaller = next((other for other in needed if other.total <= machine.available), None)
    hint = f"at {smaller.precision} it would fit" if smaller else "take a smaller model, or a larger machine"
    if need.total > machine.total:
        yield error(
            "too_large",
            f"It needs about {_gib(need.total)} of memory, and this machine has {_gib(machine.total)}.",
            f"Make it smaller: {hint}.",
        )
    else:
        yield warning(
            "memory_is_short",
            f"It needs about {_gib(need.total)} of memory, and {_gib(machine.available)} is free now.",
            f"Close other programs, or make it smaller: {hint}.",
        )


def _of_refusal(outcome: EngineChoice | Refusal) -> Iterator[Finding]:
    if isinstance(outcome, Refusal):
        code = "custom_code" if outcome.error is UnsafeModel else outcome.error.code
        code = "not_servable" if outcome.error is ModelError else code
        yield error(code, f"{outcome.reason}.", _sentence(outcome.next_step))


def _of_error(problem: ModelError, code: str, next_step: str) -> Finding:
    return error(code, problem.message, next_step)


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first; a finding that two checks made is told once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.level]))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
