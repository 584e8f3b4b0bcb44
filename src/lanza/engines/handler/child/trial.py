"""Runs the handler's code and keeps what it raises: the one place where any error is caught.

`with Trial() as trial: ...` ends normally whatever the handler did, a `sys.exit()` included; what it raised
is in `trial.error`. A cancellation, which is not the handler's error, passes through unless asked for.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path
from types import TracebackType

LONGEST = 2_000
_HERE = str(Path(__file__).parent)


class Trial:
    def __init__(self, *, cancellation: bool = False) -> None:
        self.error: BaseException | None = None
        self._caught = (Exception, SystemExit, *((asyncio.CancelledError,) if cancellation else ()))

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return isinstance(error, self._caught)


def describe(error: BaseException, folder: str) -> dict[str, str]:
    """`message` is "KeyError: 'inputs'", cut at 2,000 characters; `where` the handler's line that did."""
    is_ours = type(error).__module__.startswith(f"{__package__}.")
    message = str(error) if is_ours else "".join(traceback.format_exception_only(error)).strip()
    if len(message) > LONGEST:
        message = f"{message[:LONGEST]}…"
    return {"message": message, "where": _where(error, folder)}


def report(error: BaseException) -> None:
    """The traceback, from the handler's first line on, to the log."""
    trace = error.__traceback__
    while trace and trace.tb_next and _is_ours(trace):
        trace = trace.tb_next
    # a chained error keeps the whole of its own traceback
    traceback.print_exception(type(error), error, trace, file=sys.stderr)


def _where(error: BaseException, folder: str) -> str:
    theirs = [
        f"{Path(frame.filename).relative_to(folder)}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    return theirs[-1] if theirs else ""


def _is_ours(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_code.co_filename
    return name.startswith((_HERE, "<frozen")) or "/concurrent/futures/" in name or "/importlib/" in name
