"""What to say when a command needs libraries that are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports of libraries from an extra. MissingExtra says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "lanza":
            raise
        from lanza.errors import MissingExtra

        raise MissingExtra(
            f"this command needs {error.name}, which is not installed: pip install 'lanza[{extra}]'"
        ) from error
