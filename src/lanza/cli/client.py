"""The Hub's own client, for commands that move files: huggingface_hub, told which server and which token.

What it raises becomes an error of the tree, in one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer

from lanza.cli.context import Context, context
from lanza.cli.extras import needs


class RepoKind(StrEnum):
    """What a repository holds, as options have it."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"


KindOption = Annotated[RepoKind, typer.Option("--kind", help="What the repository holds.")]


@contextmanager
def hub_client(server: str | None, *, quiet: bool) -> Iterator[Any]:
    """An `HfApi` for the server in use. `quiet`: no progress bars, for output that programs read."""
    chosen = context(server)
    _prepare(chosen, quiet=quiet or not sys.stderr.isatty())
    with needs("client"):
        from huggingface_hub import HfApi
    _reach(chosen)
    with _told(chosen):
        # False: without a token of this server's, none at all is sent.
        yield HfApi(endpoint=chosen.url, token=chosen.token or False, library_name="lanza")


def _reach(chosen: Context) -> None:
    """Unavailable at once when nobody is there: the client itself would try for half a minute."""
    from lanza.cli.api import call
    from lanza.errors import LanzaError

    try:
        call(Context(url=chosen.url), "GET", "/healthz")
    except LanzaError as error:
        if isinstance(error.__cause__, OSError):
            raise  # all else is an answer, if only of another kind of hub


def _prepare(chosen: Context, *, quiet: bool) -> None:
    """Variables that huggingface_hub reads once, when it is imported."""
    os.environ["HF_ENDPOINT"] = chosen.url
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"
    if quiet:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


@contextmanager
def _told(chosen: Context) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from lanza.errors import BadRequest, Unavailable, UsageError

    try:
        yield
    except HfHubHTTPError as error:
        said = error.server_message or str(error).partition("\n")[0]
        raise BadRequest(f"{chosen.url} refused: {said}") from error
    except HFValidationError as error:
        raise UsageError(str(error)) from error
    except _transport_errors() as error:
        raise Unavailable(f"cannot talk to {chosen.url}: {error}. Is `lanza up` running there?") from error


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the client's HTTP library raises when nobody answers: which one it is depends on the release."""
    from importlib import import_module
    from importlib.util import find_spec

    return tuple(import_module(name).TransportError for name in ("httpx2", "httpx") if find_spec(name))
