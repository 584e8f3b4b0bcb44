"""Waiting for an endpoint to become what it is to be, while people see how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from lanza.cli.endpoints.address import Endpoint

EVERY: Final = 0.5
UNDER_WAY: Final = frozenset({"pending", "initializing", "updating"})


def stands_still(found: Any) -> bool:
    """Whether it neither runs nor is about to."""
    state: str = found["status"]["state"]
    return state not in UNDER_WAY and state not in ("running", "scaledToZero")


def wait_for(endpoint: Endpoint, *, seconds: float, quiet: bool) -> Any:
    """The endpoint once it has come to rest. DeadlineExceeded when that takes longer than `seconds`."""
    from lanza.errors import DeadlineExceeded

    deadline = time.monotonic() + seconds
    with _shown(str(endpoint), quiet=quiet) as show:
        try:
            while True:
                found = endpoint.get()
                state, message = found["status"]["state"], found["status"].get("message") or ""
                if state not in UNDER_WAY:
                    return found
                show(state, message.partition("\n")[0])
                if time.monotonic() >= deadline:
                    said = f": {message.rstrip('.')}" if message else ""
                    raise DeadlineExceeded(
                        f"{endpoint} is still {state} after {seconds:g} s{said}. {_goes_on(endpoint)}"
                    )
                time.sleep(EVERY)
        except KeyboardInterrupt:
            print(f"\nlanza: {_goes_on(endpoint)}", file=sys.stderr)
            raise typer.Exit(130) from None


def _goes_on(endpoint: Endpoint) -> str:
    return f"It goes on; `lanza show {endpoint}` and `lanza logs {endpoint}` tell how far it is."


def check_outcome(endpoint: Endpoint, found: Any) -> None:
    """EngineFailed with the server's reason when it did not become what was wanted."""
    from lanza.errors import EngineFailed

    state, message = found["status"]["state"], found["status"].get("message") or ""
    if state in ("failed", "updateFailed"):
        raise EngineFailed(f"{endpoint}: {state}. {message}\n`lanza logs {endpoint}` shows more.")


@contextmanager
def _shown(name: str, *, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """A line that changes in a terminal; elsewhere a line for each change."""
    if quiet:
        yield lambda state, message: None
        return
    if not sys.stderr.isatty():
        yield _changes(name)
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    begun = time.monotonic()
    with console.status(f"{name}: asking") as status:

        def show(state: str, message: str) -> None:
            said = f": {message}" if message else ""
            status.update(escape(f"{name}: {state}{said} ({time.monotonic() - begun:.0f} s)"))

        yield show


def _changes(name: str) -> Callable[[str, str], None]:
    last = ("", "")

    def show(state: str, message: str) -> None:
        nonlocal last
        if (state, message) != last:
            last = (state, message)
            said = f": {message}" if message else ""
            print(f"lanza: {name}: {state}{said}", file=sys.stderr, flush=True)

    return show
