"""A conversion in a process of its own: started, followed, and ended with us.

The child reads its standard input only to learn that we are gone. What it writes to standard error goes to a
file, for a pipe that nobody reads would stop it. `-P` keeps Python from taking a file of the working folder,
which may be a model's, for a module.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import orjson

from lanza.convert.report import ConversionReport, one_line
from lanza.convert.store import Store
from lanza.errors import ConversionFailed
from lanza.models.facts import ModelFacts, read_facts

Tell = Callable[[str], None]

_LAST_WORDS = 4096


def run(
    facts: ModelFacts, task: str, source: str, store: Store, tell: Tell, *, graph: Path | None = None
) -> tuple[Path, ConversionReport]:
    """Export, or compare `graph`; and keep what came of it under `source`. ConversionFailed when it died."""
    before = store.source(facts)
    aside = store.begin(source, task)
    command = [
        sys.executable,
        "-P",
        "-m",
        "lanza.convert",
        str(facts.path.absolute()),
        str(aside),
        task,
        source,
    ]
    try:
        failure = _follow([*command, *([str(graph.absolute())] if graph else [])], tell)
        report = ConversionReport.read(aside)
        if report is None:
            raise ConversionFailed(failure)
        if store.source(read_facts(facts.path)) != before:
            raise ConversionFailed("its files changed while it was converted: start again")
        return store.commit(aside, source, task), report
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _follow(command: list[str], tell: Tell) -> str:
    """Run to the end, passing the steps on; why there is no report, if there is none."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            ) as process,
        ):
            assert process.stdout is not None
            try:
                failure = _steps(process.stdout, tell)
                status = process.wait()
            finally:
                process.kill()
            return one_line(failure) or f"the conversion died ({status}): {_last_words(errors)}"
    except OSError as error:
        raise ConversionFailed(f"the conversion cannot be run: {one_line(error)}") from error


def _steps(lines: IO[bytes], tell: Tell) -> str:
    """Pass the steps on; the message of an error, if there was one."""
    failure = ""
    for line in lines:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a library that prints where it should not
        if not isinstance(event, dict):
            continue
        if "step" in event:
            tell(event["step"])
        failure = str(event.get("error", failure))
    return failure


def _last_words(errors: IO[bytes]) -> str:
    """The last line of standard error that says something."""
    end = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, end - _LAST_WORDS))
    lines = errors.read().decode(errors="replace").splitlines()
    return next(filter(None, map(one_line, reversed(lines))), "it said nothing")
